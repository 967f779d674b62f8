"""Bodies: limits exactly, gzip in every state of disrepair, senders that stop or trickle."""

import asyncio
import gzip
import zlib
from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive

from app.body import DISCARD_BYTES, MOST_MEMBERS, Budget, Gone, inflate, read_body
from app.problems import Problem

LIMIT = 10_000


def sends(chunks: Iterable[bytes], *, ends: bool = True, seconds: float = 0) -> Receive:
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if ends:
        messages.append({"type": "http.request", "body": b"", "more_body": False})
    else:
        messages.append({"type": "http.disconnect"})
    left = iter(messages)

    async def receive() -> dict[str, object]:
        await asyncio.sleep(seconds)
        return next(left)

    return receive


async def read(receive: Receive, *, seconds: float, most_bytes: int = 2 * LIMIT) -> bytes:
    """Read a body; whatever comes of it, the budget is right afterwards."""
    budget, body = Budget(most_bytes), b""
    try:
        body = await read_body(receive, limit=LIMIT, seconds=seconds, budget=budget)
    finally:
        assert budget.held_bytes == len(body)
    return body


def status_of(raw: bytes, encoding: bytes = b"gzip") -> int:
    with pytest.raises(Problem) as raised:
        inflate(raw, encoding, limit=LIMIT)
    return raised.value.status


@given(st.lists(st.binary(max_size=200), max_size=20))
async def test_chunks_make_no_difference(chunks: list[bytes]) -> None:
    assert await read(sends(chunks), seconds=1) == b"".join(chunks)


async def test_exactly_the_limit_is_good_and_one_more_is_not() -> None:
    assert len(await read(sends([b"x" * LIMIT]), seconds=1)) == LIMIT
    with pytest.raises(Problem) as raised:
        await read(sends([b"x" * LIMIT, b"x"]), seconds=1)
    assert (raised.value.status, raised.value.closes) == (413, False)


async def test_a_stream_without_end_is_left() -> None:
    with pytest.raises(Problem) as raised:
        await read(sends([b"x" * DISCARD_BYTES] * 3), seconds=1)
    assert (raised.value.status, raised.value.closes) == (413, True)


async def test_a_trickle_is_cut_off() -> None:
    with pytest.raises(Problem) as raised:
        await read(sends([b"x"] * 100, seconds=0.02), seconds=0.1)
    assert (raised.value.status, raised.value.closes) == (503, True)


async def test_who_is_cancelled_holds_nothing_any_more() -> None:
    """As a server that is stopped does to what it still reads."""
    reading = asyncio.create_task(read(sends([b"x"] * 100, seconds=0.01), seconds=5))
    await asyncio.sleep(0.05)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_no_more_is_held_than_the_budget() -> None:
    with pytest.raises(Problem) as raised:
        await read(sends([b"x" * 600, b"x" * 600]), seconds=1, most_bytes=1_000)
    assert (raised.value.status, raised.value.closes) == (503, True)


async def test_who_hangs_up_gets_no_answer() -> None:
    with pytest.raises(Gone):
        await read(sends([b"{"], ends=False), seconds=1)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_gzip_in_one_and_in_several_members(parts: list[bytes]) -> None:
    raw = b"".join(gzip.compress(part) for part in parts)
    assert inflate(raw, b"gzip", limit=LIMIT) == b"".join(parts)


@pytest.mark.parametrize("encoding", [b"", b"identity", b" Identity "])
def test_plain(encoding: bytes) -> None:
    assert inflate(b"{}", encoding, limit=LIMIT) == b"{}"


@pytest.mark.parametrize("encoding", [b"GZIP", b"x-gzip", b" gzip "])
def test_names_of_gzip(encoding: bytes) -> None:
    assert inflate(gzip.compress(b"{}"), encoding, limit=LIMIT) == b"{}"


@pytest.mark.parametrize("encoding", [b"br", b"deflate", b"gzip, gzip", b"\xff"])
@pytest.mark.parametrize("raw", [b"{}", gzip.compress(b"{}")], ids=["plain", "gzip all the same"])
def test_other_encodings_are_400(encoding: bytes, raw: bytes) -> None:
    assert status_of(raw, encoding) == 400


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        zlib.compress(b"{}"),
        gzip.compress(b"{}")[:-1],
        gzip.compress(b"{}" * 50)[:20],
        gzip.compress(b"{}") + b"garbage",
        gzip.compress(b"{}")[:-8] + bytes(8),
        gzip.compress(b"") * (MOST_MEMBERS + 1),
    ],
    ids=["empty", "plain", "zlib", "cut", "half", "garbage", "checksum", "members"],
)
def test_what_is_no_whole_gzip_is_400(raw: bytes) -> None:
    assert status_of(raw) == 400


def test_zeros_behind_a_member_are_padding() -> None:
    assert inflate(gzip.compress(b"{}") + bytes(10), b"gzip", limit=LIMIT) == b"{}"


def test_the_limit_holds_after_inflating() -> None:
    assert len(inflate(gzip.compress(b"x" * LIMIT), b"gzip", limit=LIMIT)) == LIMIT
    assert status_of(gzip.compress(b"x" * (LIMIT + 1))) == 413
    assert status_of(gzip.compress(b"x" * LIMIT) + gzip.compress(b"x")) == 413


def test_a_bomb_stops_at_the_limit() -> None:
    bomb = gzip.compress(bytes(200_000_000), 9)
    assert status_of(bomb) == 413


@given(st.binary(max_size=500))
def test_any_bytes_inflate_or_have_a_status(raw: bytes) -> None:
    with suppress(Problem):
        assert len(inflate(raw, b"gzip", limit=LIMIT)) <= LIMIT
