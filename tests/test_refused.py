"""Refused bodies: kept once each, within their share and their time, and brought in by `send` once they can be read."""

import asyncio
import errno
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.refused import FOLDER, KEPT_SECONDS, LEAST_FILE_BYTES, MOST_WAITING_BYTES, SHARE, RefusedBodies
from app.sources import Sources, expand

MANY = 1 << 30


def bodies(spool: Path) -> list[bytes]:
    folder = spool / FOLDER
    return sorted(path.read_bytes() for path in folder.iterdir()) if folder.is_dir() else []


async def settled(refused: RefusedBodies) -> None:
    await asyncio.to_thread(refused.stop)
    await asyncio.sleep(0)


async def test_a_body_is_kept_once_for_our_eyes_only(tmp_path: Path) -> None:
    count: list[None] = []
    refused = RefusedBodies(tmp_path, spool_bytes=MANY, kept=lambda: count.append(None))
    for body in (b'{"a": 1}', b"not json", b'{"a": 1}'):
        refused.keep(body)
    await settled(refused)
    assert len(count) == 3
    assert bodies(tmp_path) == [b"not json", b'{"a": 1}']
    assert sorted(item.body for item in Sources(expand([str(tmp_path)]))) == bodies(tmp_path), (
        "`send` takes them as sent"
    )
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / FOLDER).iterdir()}
    assert (modes, (tmp_path / FOLDER).stat().st_mode & 0o777) == ({0o600}, 0o700)


async def test_of_nothing_nothing_is_kept_and_what_was_is_let_go(tmp_path: Path) -> None:
    RefusedBodies(tmp_path, spool_bytes=MANY).write(b"{}")
    none = RefusedBodies(tmp_path, spool_bytes=0)
    none.keep(b"[]")
    running = asyncio.create_task(none.run())
    await asyncio.sleep(0)
    await settled(none)
    running.cancel()
    assert bodies(tmp_path) == []


@given(sizes=st.lists(st.integers(0, 3 * LEAST_FILE_BYTES), max_size=40))
def test_the_newest_stay_within_the_share(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    spool, share = tmp_path_factory.mktemp("spool"), 8 * LEAST_FILE_BYTES
    refused = RefusedBodies(spool, spool_bytes=share * SHARE)
    sent = [b"%04d" % n + b" " * size for n, size in enumerate(sizes)]
    began = time.time() - 1000
    for number, body in enumerate(sent):
        refused.write(body)
        path = next(path for path in (spool / FOLDER).iterdir() if path.read_bytes() == body)
        os.utime(path, (began + number, began + number))
        assert sum(max(len(one), LEAST_FILE_BYTES) for one in bodies(spool)) <= share + share // 8
    refused.sweep(now=began)
    kept = bodies(spool)
    assert kept == sent[len(sent) - len(kept) :]
    taken = [max(len(body), LEAST_FILE_BYTES) for body in sent]
    assert sum(taken[len(sent) - len(kept) :]) <= share
    assert len(kept) == len(sent) or sum(taken[len(sent) - len(kept) - 1 :]) > share


async def test_a_body_beyond_the_share_does_not_push_all_others_out(tmp_path: Path) -> None:
    refused = RefusedBodies(tmp_path, spool_bytes=2 * LEAST_FILE_BYTES * SHARE)
    refused.keep(b"[]")
    refused.keep(b" " * (2 * LEAST_FILE_BYTES + 1))
    refused.keep(b"{}")
    await settled(refused)
    assert bodies(tmp_path) == [b"[]", b"{}"]


async def test_what_waits_for_a_slow_disk_takes_little_memory(tmp_path: Path) -> None:
    refused, goes_on = RefusedBodies(tmp_path, spool_bytes=MANY), threading.Event()
    refused._thread.submit(goes_on.wait)
    large = [b"%02d" % number + b" " * MOST_WAITING_BYTES for number in range(3)]
    for body in (b"[]", *large, b"{}"):
        refused.keep(body)
    goes_on.set()
    await settled(refused)
    assert bodies(tmp_path) == [large[0], b"[]"]


def test_folders_that_somebody_made_there_are_theirs(tmp_path: Path) -> None:
    refused = RefusedBodies(tmp_path, spool_bytes=MANY)
    refused.write(b"old")
    (tmp_path / FOLDER / "seen").mkdir()
    for path in (tmp_path / FOLDER).iterdir():
        os.utime(path, (1_000_000, 1_000_000))
    refused.sweep(now=1_000_001 + KEPT_SECONDS)
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["seen"]


async def test_a_disk_that_lets_nothing_go_is_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused, tries = RefusedBodies(tmp_path, spool_bytes=MANY), list[float]()

    def sweep(*, now: float) -> None:
        tries.append(now)
        raise OSError(errno.EROFS, "Read-only file system") if len(tries) < 3 else EOFError

    monkeypatch.setattr(refused, "sweep", sweep)
    monkeypatch.setattr("app.refused.SWEEP_SECONDS", 0)
    with pytest.raises(EOFError):
        await refused.run()
    assert caplog.messages == ["old refused bodies can't be deleted: Read-only file system"] * 2


def test_what_is_old_is_let_go(tmp_path: Path) -> None:
    refused = RefusedBodies(tmp_path, spool_bytes=MANY)
    refused.write(b"old")
    for path in (tmp_path / FOLDER).iterdir():
        os.utime(path, (1_000_000, 1_000_000))
    refused.write(b"new")
    refused.sweep(now=1_000_000 + KEPT_SECONDS)
    assert bodies(tmp_path) == [b"new", b"old"]
    refused.sweep(now=1_000_001 + KEPT_SECONDS)
    assert bodies(tmp_path) == [b"new"]


async def test_a_disk_that_takes_nothing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FOLDER).write_bytes(b"in the way")
    refused = RefusedBodies(tmp_path, spool_bytes=MANY)
    for body in (b"1", b"2", b"3"):
        refused.keep(body)
    await settled(refused)
    assert [record.getMessage() for record in caplog.records] == ["refused bodies can't be kept: File exists"]
