"""HTTP as the receiver speaks it: what uvicorn answers, byte for byte, each reply in one write."""

import asyncio
import resource
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app import protocol
from app.protocol import TimedProtocol

REQUESTS = {
    "post": b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc",
    "expects": b"POST / HTTP/1.1\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\nabc",
    "chunked": b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "get": b"GET / HTTP/1.1\r\n\r\n",
    "head": b"HEAD / HTTP/1.1\r\n\r\n",
    "old": b"GET / HTTP/1.0\r\n\r\n",
    "last": b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
    "upgrade": b"POST / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 3\r\n\r\nabc",
}
OFFER = b"connection: upgrade\r\nupgrade: h2c\r\n"


class Wire(asyncio.Transport):
    """A connection that notes what is written, and how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = self.aborted = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what came, or with nothing to GET."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def connected(
    kind: type[HttpToolsProtocol], app: Any = echo, state: ServerState | None = None
) -> tuple[HttpToolsProtocol, Wire]:
    made = kind(config=Config(app, log_level="critical"), server_state=state or ServerState(), app_state={})
    wire = Wire()
    made.connection_made(wire)
    return made, wire


async def answers(kind: type[HttpToolsProtocol], data: bytes, sizes: list[int]) -> Wire:
    """What is written for these bytes, which come in pieces of these sizes."""
    made, wire = connected(kind)
    for size in [*sizes, len(data)]:
        piece, data = data[:size], data[size:]
        if piece and not wire.closed:
            made.data_received(piece)
        for _ in range(4):
            await asyncio.sleep(0)
    for _ in range(40):
        await asyncio.sleep(0)
    made.connection_lost(None)
    return wire


@given(st.lists(st.sampled_from(sorted(REQUESTS)), min_size=1, max_size=5), st.lists(st.integers(1, 90), max_size=6))
def test_replies_are_uvicorns_each_in_one_write(names: list[str], sizes: list[int]) -> None:
    """To an offer to upgrade, as if it had not been made."""
    data = b"".join(REQUESTS[name] for name in names)
    theirs = asyncio.run(answers(HttpToolsProtocol, data.replace(OFFER, b""), []))
    ours = asyncio.run(answers(TimedProtocol, data, sizes))
    assert told(ours) == told(theirs)
    assert ours.closed == theirs.closed
    replies = [write for write in ours.writes if b"100 Continue" not in write]
    assert all(write.startswith(b"HTTP/1.1 ") and write.count(b"HTTP/1.1") == 1 for write in replies)


async def test_a_stream_begins_and_goes_on_at_once() -> None:
    goes_on = asyncio.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await goes_on.wait()
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two", "more_body": True})
        await asyncio.Event().wait()

    made, wire = connected(TimedProtocol, stream)
    made.data_received(REQUESTS["get"])
    await asyncio.sleep(0.01)
    assert [write[:12] for write in wire.writes] == [b"HTTP/1.1 200"]
    goes_on.set()
    await asyncio.sleep(0.01)
    assert wire.writes[1:] == [b"3\r\none\r\n", b"3\r\ntwo\r\n"]
    made.connection_lost(None)


def told(wire: Wire) -> bytes:
    """All that was written, up to where a request is refused that is no HTTP: ours says so in another form."""
    return b"".join(wire.writes).partition(b"HTTP/1.1 400 ")[0]


@pytest.mark.parametrize("sent", [b"", b"POST / HT", b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nab"])
async def test_a_request_that_does_not_end_is_cut_off(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.01)
    made, wire = connected(TimedProtocol)
    if sent:
        made.data_received(sent)
    await asyncio.sleep(0.05)
    assert wire.aborted
    made.connection_lost(None)


async def test_a_connection_that_rests_between_requests_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    made, wire = connected(TimedProtocol)
    made.data_received(REQUESTS["post"])
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.01)
    await asyncio.sleep(0.05)
    assert not wire.aborted
    assert len(wire.writes) == 1
    made.data_received(REQUESTS["post"][:20])
    await asyncio.sleep(0.05)
    assert wire.aborted
    made.connection_lost(None)


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
async def test_nothing_is_kept_of_a_connection_that_is_gone(error: Exception | None) -> None:
    """One that was reset stayed in memory, its head too, for as long as it could have rested; HAProxy resets all."""
    made, _ = connected(TimedProtocol)
    made.data_received(REQUESTS["post"])
    await asyncio.sleep(0.01)
    resting = made.timeout_keep_alive_task
    assert resting is not None
    made.connection_lost(error)
    assert resting.cancelled()


@pytest.mark.parametrize(("sent", "replies"), [("post", 1), ("post post", 2), ("", 0)])
async def test_who_closes_his_half_is_answered_and_then_hung_up_on(sent: str, replies: int) -> None:
    made, wire = connected(TimedProtocol)
    for name in sent.split():
        made.data_received(REQUESTS[name])
    keeps_open = cast(TimedProtocol, made).eof_received()
    assert keeps_open is (replies > 0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert b"".join(wire.writes).count(b"HTTP/1.1 200") == replies
    assert wire.closed is keeps_open
    made.connection_lost(None)


@pytest.mark.parametrize(("fields", "status"), [(protocol.MOST_FIELDS, b"200"), (protocol.MOST_FIELDS + 1, b"400")])
async def test_a_head_has_a_bounded_number_of_fields(fields: int, status: bytes) -> None:
    made, wire = connected(TimedProtocol)
    made.data_received(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * fields)
    made.data_received(b"\r\n") if not wire.closed else None
    await asyncio.sleep(0.01)
    assert [write[:12] for write in wire.writes] == [b"HTTP/1.1 " + status]
    made.connection_lost(None)


@pytest.mark.parametrize("name", ["chunked", "upgrade"])
@pytest.mark.parametrize("size", [1, 1000])
async def test_a_field_behind_the_body_is_no_header(name: str, size: int) -> None:
    heads: list[list[tuple[bytes, bytes]]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        heads.append(scope["headers"])

    first = REQUESTS["chunked"].removesuffix(b"\r\n") + b"x-one: behind\r\n\r\n"
    first = first.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\n" + (OFFER if name == "upgrade" else b""))
    data = first + b"GET / HTTP/1.1\r\nx-two: ahead\r\n\r\n"
    made, _ = connected(TimedProtocol, app)
    for place in range(0, len(data), size):
        made.data_received(data[place : place + size])
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert [head[-1] for head in heads] == [(b"transfer-encoding", b"chunked"), (b"x-two", b"ahead")]
    made.connection_lost(None)


@pytest.mark.parametrize(("behind", "replies"), [(protocol.MOST_WAITING, protocol.MOST_WAITING + 1), (100_000, 0)])
async def test_not_more_than_a_few_requests_wait_for_their_turn(behind: int, replies: int) -> None:
    made, wire = connected(TimedProtocol)
    made.data_received(REQUESTS["get"] * (1 + behind))
    assert len(made.pipeline) == protocol.MOST_WAITING
    assert wire.aborted is (replies == 0)
    for _ in range(10 * protocol.MOST_WAITING):
        await asyncio.sleep(0)
    assert b"".join(wire.writes).count(b"HTTP/1.1") == replies
    made.connection_lost(None)


async def test_half_a_request_behind_which_the_sender_closes_is_none() -> None:
    made, _ = connected(TimedProtocol)
    made.data_received(REQUESTS["post"][:-1])
    assert cast(TimedProtocol, made).eof_received() is False
    made.connection_lost(None)


async def test_who_comes_when_there_are_too_many_takes_the_place_of_those_that_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 3)
    state = ServerState()
    rests, begins, says_nothing = (connected(TimedProtocol, state=state) for _ in range(3))
    rests[0].data_received(REQUESTS["get"])
    begins[0].data_received(REQUESTS["get"])
    await asyncio.sleep(0.01)
    begins[0].data_received(REQUESTS["post"][:20])
    fourth = connected(TimedProtocol, state=state)
    assert [wire.aborted for _, wire in (rests, begins, says_nothing, fourth)] == [True, False, False, False]
    rests[0].connection_lost(None)
    fifth = connected(TimedProtocol, state=state)
    assert [write[:12] for write in fifth[1].writes] == [b"HTTP/1.1 503"]
    assert fifth[1].closed
    for made, _ in (begins, says_nothing, fourth, fifth):
        made.connection_lost(None)


def test_other_files_than_connections_can_be_opened() -> None:
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        assert protocol.most_connections() == 1024 - protocol.OTHER_FILES
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        assert protocol.most_connections() == 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


async def test_a_timer_is_gone_with_the_connection() -> None:
    made, _ = connected(TimedProtocol)
    made.data_received(REQUESTS["post"][:20])
    assert cast(TimedProtocol, made)._timer is not None
    made.connection_lost(None)
    assert cast(TimedProtocol, made)._timer is None
