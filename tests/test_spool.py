"""The spool: a model that may crash between any two steps, a full disk, several writers, one drainer."""

import asyncio
import errno
import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.outcomes import Full, SpoolFailed, SpoolStatus
from app.outlet import Outlet, SparingStatus, status
from app.segment import Row, frame
from app.spool import ASIDE, IDLE_SECONDS, Spool, prepare, segments, used_bytes
from tests.patience import until


class Crash(BaseException):
    """The machine stops here."""


class Disk:
    """A disk that forgets at a power cut what was not fsync'd: names of a folder's files, and the ends of these."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fsync = os.fsync
        self._names: set[str] = set()
        self._sizes: dict[str, int] = {}
        os.fsync = self._sync  # type: ignore[assignment]

    def close(self) -> None:
        """The system's own fsync again."""
        os.fsync = self._fsync

    def _sync(self, descriptor: Any) -> None:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        if place == self._folder:
            self._names = {path.name for path in place.iterdir()}
        else:
            self._sizes[place.name] = os.fstat(descriptor).st_size

    def lose_power(self, more_bytes: int) -> None:
        """Leave what must be there, and of files some bytes more: any part of the rest may have been written."""
        for path in self._folder.glob("*.spool"):
            if path.name in self._names:
                os.truncate(path, min(path.stat().st_size, self._sizes.get(path.name, 0) + more_bytes))
            else:
                path.unlink()


class SpoolMachine(RuleBasedStateMachine):
    """What was kept is there until it is marked as sent, whatever stops in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="spool-")).resolve()
        self.disk = Disk(self.folder)
        prepare(self.folder)
        self.kept: set[int] = set()
        self.tried: set[int] = set()
        self.sent: set[int] = set()
        self.count = 0
        self.until_crash = -1
        self.reopen()

    def reopen(self) -> None:
        self.spool = Spool(self.folder, most_bytes=10**7, step=self.step)
        self.outlet = Outlet(self.folder)

    def step(self, _name: str) -> None:
        if self.until_crash == 0:
            raise Crash
        self.until_crash -= 1

    def rows(self, number: int) -> list[Row]:
        first, self.count = self.count + 1, self.count + number
        return [Row(n, "", b"body %d" % n) for n in range(first, first + number)]

    def stop_without_goodbye(self) -> None:
        """What a kill does: descriptors are closed by the kernel, nothing is tidied up."""
        if self.spool._writer is not None:
            os.close(self.spool._writer.descriptor)
        self.outlet.release()
        self.reopen()

    @rule(number=st.integers(1, 5))
    def keep(self, number: int) -> None:
        rows = self.rows(number)
        self.until_crash = -1
        assert self.spool.commit(rows) == number
        self.kept |= {row.received_at for row in rows}

    @rule(number=st.integers(1, 5), after=st.integers(0, 4))
    def crash_while_keeping(self, number: int, after: int) -> None:
        rows = self.rows(number)
        self.tried |= {row.received_at for row in rows}
        self.until_crash = after
        try:
            self.spool.commit(rows)
        except Crash:
            pass
        else:
            self.kept |= {row.received_at for row in rows}
        self.stop_without_goodbye()

    @rule(number=st.integers(1, 5), after=st.integers(0, 4), more_bytes=st.integers(0, 60))
    def lose_power_while_keeping(self, number: int, after: int, more_bytes: int) -> None:
        self.crash_while_keeping(number, after)
        self.disk.lose_power(more_bytes)

    @rule()
    def lose_power(self) -> None:
        self.stop_without_goodbye()
        self.disk.lose_power(0)

    @rule(most=st.integers(1, 4))
    def send(self, most: int) -> None:
        assert self.outlet.acquire()
        some = list(self.outlet.waiting())[:most]
        self.outlet.mark_sent(some)
        self.sent |= {waiting.row.received_at for waiting in some}

    @rule()
    def crash(self) -> None:
        self.stop_without_goodbye()

    @rule()
    def idle(self) -> None:
        self.spool.close()

    @rule()
    def sweep(self) -> None:
        self.outlet.sweep()

    @invariant()
    def what_was_kept_is_there(self) -> None:
        there = [waiting.row.received_at for waiting in Outlet(self.folder).waiting()]
        assert self.kept - self.sent <= set(there)
        assert set(there) <= (self.kept | self.tried) - self.sent
        assert len(there) == len(set(there))
        assert all(waiting.row.body == b"body %d" % waiting.row.received_at for waiting in self.outlet.waiting())

    @invariant()
    def the_status_says_so(self) -> None:
        there = list(Outlet(self.folder).waiting())
        found = status(self.folder, now=10**6)
        assert (found.rows, found.bytes) == (len(there), sum(len(one.row.body) for one in there))

    def teardown(self) -> None:
        self.disk.close()
        for waiting in list(self.outlet.waiting()):
            self.outlet.mark_sent([waiting])
        self.spool.close()
        self.outlet.sweep()
        assert not list(self.folder.glob("*.spool"))
        self.outlet.release()
        shutil.rmtree(self.folder)


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path, most_bytes=1_000_000)
    spool.start()
    yield spool
    spool.stop()


def bodies(folder: Path) -> list[bytes]:
    return [waiting.row.body for waiting in Outlet(folder).waiting()]


async def test_one_fsync_for_all_that_wait(opened: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        syncs.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    await asyncio.gather(*(opened.keep(Row(n, "", b"%d" % n)) for n in range(300)))
    assert len(bodies(opened.folder)) == 300
    assert len(syncs) < 10


async def test_what_comes_while_the_disk_is_busy_shares_the_next_fsync(tmp_path: Path) -> None:
    """However many turns of the loop it came in: a slow disk would else fall behind by an fsync a delivery."""
    busy, synced = threading.Event(), list[str]()

    def step(name: str) -> None:
        if name == "synced":
            synced.append(name)
            busy.wait(5)

    spool = Spool(tmp_path, most_bytes=10**6, step=step)
    spool.start()
    keeping = []
    for n in range(20):
        keeping.append(asyncio.create_task(spool.keep(Row(n, "", b"%d" % n))))
        if n >= 2:  # the first three come in one turn
            await asyncio.sleep(0.02 if n == 2 else 0)
    busy.set()
    await asyncio.gather(*keeping)
    assert (len(bodies(tmp_path)), len(synced)) == (20, 2)
    await asyncio.to_thread(spool.stop)


async def test_what_was_asked_for_before_the_stop_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path, most_bytes=1_000_000, step=lambda _name: time.sleep(0.05))
    spool.start()
    first = asyncio.create_task(spool.keep(Row(1, "", b"first")))
    await asyncio.sleep(0.02)  # it is being written, and others wait
    others = [asyncio.create_task(spool.keep(Row(n, "", b"%d" % n))) for n in (2, 3)]
    await asyncio.sleep(0)
    await asyncio.to_thread(spool.stop)
    await asyncio.gather(first, *others)
    assert bodies(tmp_path) == [b"first", b"2", b"3"]


async def test_a_stop_does_not_wait_for_the_loop_that_waits_for_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path, most_bytes=1_000_000)
    spool.start()
    asked = asyncio.create_task(spool.keep(Row(1, "", b"asked")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # it is with the writer now
    began = time.monotonic()
    spool.stop()
    assert time.monotonic() - began < 5 * IDLE_SECONDS
    await asked
    assert bodies(tmp_path) == [b"asked"]


async def test_the_share_of_the_disk_is_never_exceeded_and_comes_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path, most_bytes=200_000)
    spool.start()
    for n in range(35):
        await spool.keep(Row(n, "", bytes(5_000)))
    with pytest.raises(Full):
        await asyncio.gather(*(spool.keep(Row(n, "", bytes(5_000))) for n in range(10)))
    assert used_bytes(tmp_path) <= 200_000
    assert spool.refusal
    outlet = Outlet(tmp_path)
    outlet.mark_sent(list(outlet.waiting()))
    await until(lambda: outlet.sweep() == 0 and not list(tmp_path.glob("*.spool")), 10)
    await until(lambda: not spool.refusal, 10)
    await spool.keep(Row(1, "", b"again"))
    spool.stop()
    assert bodies(tmp_path) == [b"again"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 9_000), min_size=1, max_size=6)), max_size=80))
def test_processes_that_share_a_spool_never_take_more_together(groups: list[tuple[int, list[int]]]) -> None:
    most = 150_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        spools = [Spool(folder, most_bytes=most) for _ in range(4)]
        for number, sizes in groups:
            rows = [Row(1, "", bytes(size)) for size in sizes]
            try:
                kept = spools[number].commit(rows)
            except Full:
                kept = 0
            used = used_bytes(folder)
            assert used <= most
            assert kept == len(rows) or used + len(frame(rows[kept])) > most
        for spool in spools:
            spool.close()


async def test_a_spool_that_is_nearly_full_is_not_ready(tmp_path: Path) -> None:
    """What is left of its share takes no row of the usual size, and such a spool never says otherwise."""
    spool = Spool(tmp_path, most_bytes=200_000)
    spool.start()
    await spool.keep(Row(1, "", bytes(195_000)))
    with pytest.raises(Full):
        await spool.keep(Row(2, "", bytes(5_000)))
    await asyncio.sleep(3 * IDLE_SECONDS)
    assert spool.refusal
    await asyncio.to_thread(spool.stop)
    again = Spool(tmp_path, most_bytes=200_000)
    again.start()
    assert again.refusal
    await asyncio.to_thread(again.stop)


@pytest.mark.parametrize(("room", "ready"), [(64 * 1024, True), (64 * 1024 - 1, False)])
async def test_a_large_spool_is_ready_until_64_kib_are_left(tmp_path: Path, room: int, ready: bool) -> None:
    folder, most = tmp_path / "several" / "folders" / "deep", 1 << 30
    prepare(folder)
    with (folder / "others").open("wb") as file:
        file.truncate(most - room)
    spool = Spool(folder, most_bytes=most)
    spool.start()
    assert (spool.refusal == "") is ready
    await asyncio.to_thread(spool.stop)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
async def test_a_full_disk_loses_nothing_and_recovers(
    opened: Spool, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The kernel takes half of it, then says that the disk is full."""
    await opened.keep(Row(1, "", b"first"))
    pwrite = os.pwrite
    full = [True]

    def half(descriptor: int, data: bytes, offset: int) -> int:
        if full and len(data) > 1:
            pwrite(descriptor, data[: len(data) // 2], offset)
            raise OSError(code, os.strerror(code))
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(Full):
        await opened.keep(Row(2, "", b"second"))
    full.clear()
    await opened.keep(Row(3, "", b"third"))
    assert bodies(opened.folder) == [b"first", b"third"]
    assert status(opened.folder).damaged == 0


async def test_a_failing_disk_is_said(opened: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(SpoolFailed, match="Input/output error"):
        await opened.keep(Row(1, "", b"x"))
    assert opened.refusal == "the disk fails (Input/output error)"


@pytest.mark.parametrize("asked", [True, False], ids=["asked to keep", "idle"])
async def test_a_disk_that_lets_nothing_be_removed_either_is_said_and_used_again(
    opened: Spool, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    """ext4 after an error: the file system is read-only from one moment to the next, until somebody mends it."""
    await opened.keep(Row(1, "", b"first"))
    assert opened._writer is not None
    descriptor = opened._writer.descriptor

    def refuse(*_arguments: object, **_more: object) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as read_only:
        for name in ("pwrite", "ftruncate", "unlink"):
            read_only.setattr(os, name, refuse)
        if asked:
            with pytest.raises(SpoolFailed):
                await opened.keep(Row(2, "", b"second"))
        else:
            await until(lambda: opened._writer is None, 10)
        beside = os.open(opened.folder, os.O_RDONLY)
        assert beside == descriptor, "the number of the descriptor that was closed is another file's now"
        await asyncio.sleep(3 * IDLE_SECONDS)
    os.fstat(beside)
    os.close(beside)
    async with asyncio.timeout(5):
        await opened.keep(Row(3, "", b"third"))
    assert bodies(opened.folder) == [b"first", b"third"]


async def test_an_error_of_ours_is_told_to_who_waits_and_the_next_is_kept(
    opened: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_rows: object) -> NoReturn:
        raise KeyError("ours")

    with monkeypatch.context() as patched:
        patched.setattr(opened, "commit", broken)
        async with asyncio.timeout(5):
            with pytest.raises(SpoolFailed, match="KeyError"):
                await opened.keep(Row(1, "", b"x"))
    async with asyncio.timeout(5):
        await opened.keep(Row(2, "", b"y"))
    assert bodies(opened.folder) == [b"y"]


async def test_what_somebody_deletes_takes_nothing_with_it_that_comes_later(opened: Spool) -> None:
    """A 202 for a row in a file that has no name any more would be a lie."""
    await opened.keep(Row(1, "", b"in what is deleted"))
    (segment,) = segments(opened.folder)
    segment.unlink()
    await opened.keep(Row(2, "", b"second"))
    assert bodies(opened.folder) == [b"second"]
    shutil.rmtree(opened.folder)
    await opened.keep(Row(3, "", b"third"))
    assert bodies(opened.folder) == [b"third"]
    assert opened.folder.stat().st_mode & 0o777 == 0o700


async def test_a_spool_that_is_not_needed_says_that_it_can_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.spool.PROBE_SECONDS", 0.1)
    spool = Spool(tmp_path / "spool", most_bytes=10**6)
    spool.start()
    shutil.rmtree(spool.folder)
    spool.folder.touch()
    await until(lambda: spool.refusal == "the disk fails (File exists)", 10)
    spool.folder.unlink()
    await until(lambda: not spool.refusal, 10)
    await asyncio.to_thread(spool.stop)


async def test_workers_share_a_spool_and_one_drains(tmp_path: Path) -> None:
    spools = [Spool(tmp_path, most_bytes=10**6) for _ in range(2)]
    for spool in spools:
        spool.start()
    for n in range(20):
        await spools[n % 2].keep(Row(n, "", b"%d" % n))
    assert bodies(tmp_path) == [b"%d" % n for n in range(20)]
    first, second = Outlet(tmp_path), Outlet(tmp_path)
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    assert not first.acquire()
    second.release()
    assert first.acquire()
    first.release()
    for spool in spools:
        spool.stop()


async def test_a_segment_that_is_written_to_is_never_deleted(opened: Spool) -> None:
    await opened.keep(Row(1, "", b"x"))
    outlet = Outlet(opened.folder)
    outlet.mark_sent(list(outlet.waiting()))
    outlet.sweep()
    path = next(opened.folder.glob("*.spool"))
    with path.open("rb") as segment, pytest.raises(BlockingIOError):
        fcntl.flock(segment, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_damage_is_set_aside_and_reported_and_stops_nothing(tmp_path: Path) -> None:
    spool, outlet = Spool(tmp_path, most_bytes=10**6), Outlet(tmp_path)
    prepare(tmp_path)
    spool.commit([Row(n, "", b"body %d" % n) for n in range(5)])
    spool.close()
    path = next(tmp_path.glob("*.spool"))
    data = bytearray(path.read_bytes())
    place = data.index(b"body 2")
    data[place] ^= 1
    path.write_bytes(data)
    assert bodies(tmp_path) == [b"body 0", b"body 1", b"body 3", b"body 4"]
    outlet.mark_sent(list(outlet.waiting()))
    assert outlet.sweep() == 1
    assert not list(tmp_path.glob("*.spool"))
    assert b"cody 2" in next((tmp_path / ASIDE).iterdir()).read_bytes()
    assert status(tmp_path).damaged == 1


def test_damage_that_can_not_be_set_aside_keeps_no_other_segment(tmp_path: Path) -> None:
    """As on a full disk, where room can only come from these."""
    spool, outlet = Spool(tmp_path, most_bytes=10**6), Outlet(tmp_path)
    prepare(tmp_path)
    for n in range(3):
        spool.commit([Row(n, "", b"body %d" % n)])
        spool.close()
    damaged = segments(tmp_path)[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    outlet.mark_sent(list(outlet.waiting()))
    (tmp_path / ASIDE).rmdir()
    (tmp_path / ASIDE).touch()
    with pytest.raises(NotADirectoryError):
        outlet.sweep()
    assert segments(tmp_path) == [damaged]
    (tmp_path / ASIDE).unlink()
    prepare(tmp_path)
    assert outlet.sweep() == 1
    assert segments(tmp_path) == []


def test_what_is_set_aside_is_past_a_power_cut_before_it_goes_from_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path)
    spool, outlet = Spool(tmp_path, most_bytes=10**6), Outlet(tmp_path)
    spool.commit([Row(1, "", b"odd"), Row(2, "", b"torn")])
    spool.close()
    [segment] = segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-1])
    steps: list[tuple[str, str]] = []
    fsync, pwrite, unlink = os.fsync, os.pwrite, os.unlink

    def name(descriptor: Any) -> str:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        return place.name if place.is_dir() else place.suffix

    def synced(descriptor: Any) -> None:
        size = os.fstat(descriptor).st_size
        fsync(descriptor)
        steps.append(("fsync" if size else "fsync of nothing", name(descriptor)))

    def marked(descriptor: int, data: bytes, offset: int) -> int:
        steps.append(("mark", name(descriptor)))
        return pwrite(descriptor, data, offset)

    def unlinked(path: Any, **more: Any) -> None:
        steps.append(("unlink", Path(path).suffix))
        unlink(path, **more)

    for call, instead in (("fsync", synced), ("pwrite", marked), ("unlink", unlinked)):
        monkeypatch.setattr(os, call, instead)
    outlet.set_aside(next(outlet.waiting()))
    assert steps == [("fsync", ".body"), ("fsync", ASIDE), ("mark", ".spool")]
    steps.clear()
    assert outlet.sweep() == 1
    assert steps == [("fsync", ".damaged"), ("fsync", ASIDE), ("unlink", ".spool")]


def test_a_row_that_is_set_aside_keeps_its_body(tmp_path: Path) -> None:
    spool, outlet = Spool(tmp_path, most_bytes=10**6), Outlet(tmp_path)
    prepare(tmp_path)
    spool.commit([Row(7, "", b"odd"), Row(8, "", b"fine")])
    spool.close()
    outlet.set_aside(next(iter(outlet.waiting())))
    assert bodies(tmp_path) == [b"fine"]
    assert [path.read_bytes() for path in (tmp_path / ASIDE).iterdir()] == [b"odd"]
    assert status(tmp_path).damaged == 1


def test_a_segment_under_another_name_is_drained_like_any_other(tmp_path: Path) -> None:
    """A copy that somebody made: it kept all others from being drained, or shown."""
    prepare(tmp_path)
    (tmp_path / "backup.spool").write_bytes(frame(Row(7, "", b"copied")))
    spool = Spool(tmp_path, most_bytes=10**6)
    spool.commit([Row(8, "", b"kept")])
    spool.close()
    assert bodies(tmp_path) == [b"copied", b"kept"]
    assert status(tmp_path).rows == 2


def test_the_status_of_no_spool_is_empty(tmp_path: Path) -> None:
    assert status(tmp_path / "none") == SpoolStatus(0, 0, 0.0, 0, 0)
    assert not (tmp_path / "none").exists()


def test_only_we_may_read(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    prepare(folder)
    Spool(folder, most_bytes=10**6).commit([Row(1, "", b"x"), Row(2, "", b"y")])
    outlet = Outlet(folder)
    outlet.acquire()
    outlet.set_aside(next(outlet.waiting()))
    outlet.release()
    modes = {path.name.rpartition(".")[2]: path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}
    assert modes == {"spool": 0o600, "aside": 0o700, "body": 0o600, "lock": 0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_nothing_stays_open_of_what_others_hold_or_is_done_with(opened: Spool) -> None:
    """A worker that does not drain asks every second whether it should: at a descriptor each it would last minutes."""
    first, second = Outlet(opened.folder), Outlet(opened.folder)
    assert first.acquire()

    async def round_trip(number: int) -> None:
        await opened.keep(Row(number, "", b"%d" % number))
        await opened.keep(Row(number, "", b"odd %d" % number))
        assert not second.acquire()
        sent, odd = first.waiting()
        first.mark_sent([sent])
        first.set_aside(odd)
        assert first.sweep() == 0

    await round_trip(1)
    before = descriptors()
    for number in range(2, 7):
        await round_trip(number)
    assert descriptors() == before
    first.release()


def test_what_another_process_deletes_meanwhile_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path)
    for number in range(2):
        spool = Spool(tmp_path, most_bytes=10**6)
        spool.commit([Row(number, "", b"%d" % number)])
        spool.close()
    waiting = Outlet(tmp_path).waiting()
    one, other = tmp_path.glob("*.spool")
    one.unlink()
    assert len(list(waiting)) == 1
    (tmp_path / "left").write_bytes(b"12345")
    entries = sorted((entry for entry in os.scandir(tmp_path) if entry.is_file()), key=lambda one: one.name == "left")
    monkeypatch.setattr(os, "scandir", lambda place: nullcontext(entries if place == tmp_path else []))
    other.unlink()
    assert used_bytes(tmp_path) == 5


def test_a_large_spool_is_not_read_at_every_question(tmp_path: Path) -> None:
    prepare(tmp_path)
    times = iter([0.0, 2.0, 10.0, 39.9, 40.0, 41.0])
    asked = SparingStatus(tmp_path, clock=lambda: next(times))
    assert asked().damaged == 0  # took 2 s, so the next look is 38 s later
    (tmp_path / "aside" / "1.damaged").write_bytes(b"x")
    assert [asked().damaged, asked().damaged] == [0, 0]
    assert asked().damaged == 1
