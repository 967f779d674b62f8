"""Raw bodies on disk: `keep` returns once a delivery is past a power cut, or raises.

Its rules:
- One fsync for all that wait (group commit), in one thread per process, so that the loop never waits for a disk. The
  writer gets a whole group at once: row by row, both threads kept waiting for the GIL.
- Every process writes segments of its own and holds their lock; whoever drains (app/outlet.py) reads all, and deletes a
  segment only when each of its rows was marked as sent and nobody holds its lock. So workers share a spool without
  waiting for each other, and what a dead host left is drained like any other.
- Marking and deleting need no free disk, so a full disk can always be drained.
- What can't be read is set aside in `aside/`, never deleted and never in the way of the rest.

Refused: SQLite. One damaged frame of its WAL silently ends all commits after it, removing rows from a full disk fails,
and a commit costs more (97 against 76 µs a delivery).
"""

import asyncio
import fcntl
import os
import queue
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from errno import EDQUOT, EFBIG, ENOENT, ENOSPC
from itertools import accumulate
from pathlib import Path
from typing import Final

from app.outcomes import Full, SpoolFailed
from app.segment import Row, frame

SEGMENT_BYTES: Final = 8 * 1024 * 1024
IDLE_SECONDS: Final = 0.5
MOST_IN_GROUP: Final = 512
#: How often the disk is asked what the spool takes of it, and how many processes may use one: each takes no more than
#: its share of the room until it asks again. Asking is a dozen system calls, and each gives the GIL away.
LOOK_SECONDS: Final = 1.0
SHARERS: Final = 32
#: The room that a ready spool has, on the disk and in its share of it: more than almost any row takes.
PROBE_BYTES: Final = 64 * 1024
#: How often that is looked at while the spool is not needed.
PROBE_SECONDS: Final = 30.0
SUFFIX: Final = ".spool"
ASIDE: Final = "aside"

#: A row to keep, and whoever waits for that.
Ask = tuple[Row, "asyncio.Future[None]"]


@dataclass(slots=True, eq=False)
class _Writer:
    """The segment that this process writes at the moment."""

    path: Path
    descriptor: int
    size: int = 0


def prepare(folder: Path) -> None:
    """Create the spool's folders, for our eyes only, and make that outlive a power cut. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / ASIDE).mkdir(mode=0o700, exist_ok=True)
    for path in (folder / ASIDE, folder, folder.parent):
        sync_folder(path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def segments(folder: Path) -> list[Path]:
    """The segments, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def used_bytes(folder: Path) -> int:
    """What the spool takes of the disk."""
    total = 0
    for place in (folder, folder / ASIDE):
        with os.scandir(place) as entries:
            for entry in entries:
                try:
                    total += entry.stat().st_size if entry.is_file() else 0
                except FileNotFoundError:
                    continue
    return total


class Spool:
    """This process's side of a spool: writes segments of its own. `keep` belongs to the event loop."""

    def __init__(self, folder: Path, *, most_bytes: int, step: Callable[[str], None] = lambda _name: None) -> None:
        self.folder = folder
        self.refusal: str = ""
        self._most_bytes = most_bytes
        self._step = step  # tests: called between any two steps, may raise
        self._writer: _Writer | None = None
        self._probe_at = 0.0
        self._sure_bytes, self._look_at = 0, 0.0  # room until that time, whatever other processes write
        self._count = 0
        self._waiting: list[Ask] = []
        self._writing = False
        self._groups: queue.SimpleQueue[list[Ask]] = queue.SimpleQueue()  # for the writer; an empty one ends it
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    def start(self) -> None:
        """Start the writer; a spool that takes nothing yet says so in `refusal`. Raises OSError without a folder."""
        prepare(self.folder)
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Finish what was asked for; blocks for at most a few seconds."""
        self._groups.put([])
        self._thread.join(5)

    async def keep(self, row: Row) -> None:
        """Returns when the row is on the disk to stay. Raises Full or SpoolFailed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((row, future))
        if not self._writing:
            self._writing = True
            loop.call_soon(self._hand_over)  # not at once: what else comes in this turn of the loop joins in
        await future

    def _hand_over(self) -> None:
        """Give the writer the next group, if there is one."""
        group, self._waiting = self._waiting[:MOST_IN_GROUP], self._waiting[MOST_IN_GROUP:]
        self._writing = bool(group)
        if group:
            self._groups.put(group)

    def _resolve(self, futures: Sequence["asyncio.Future[None]"], kept: int, late: Exception) -> None:
        """Tell those who wait for a group what became of it."""
        self._hand_over()
        for future in futures[:kept]:
            if not future.done():
                future.set_result(None)
        for future in futures[kept:]:
            if not future.done():
                future.set_exception(type(late)(*late.args))

    # ---- the writer's thread

    def _run(self) -> None:
        stopping = False
        while self._writing or not stopping:
            try:
                group = self._groups.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                if stopping:
                    break
                self._idle()
                continue
            if group:
                self._answer(group)
            stopping |= not group
        self.close()

    def _answer(self, given: Sequence[Ask]) -> None:
        futures = [future for _, future in given]
        kept = 0
        late: Exception = Full("the spool is full")  # what those hear whose rows did not fit
        try:
            kept = self.commit([row for row, _ in given])
        except (Full, SpoolFailed) as error:
            late = error
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing was kept, and those who wait must know
            late = SpoolFailed(type(error).__name__)
        self.refusal = "" if kept == len(given) else str(late)
        try:
            futures[0].get_loop().call_soon_threadsafe(self._resolve, futures, kept, late)
        except RuntimeError:
            return  # the loop is gone, and with it those who waited

    def commit(self, rows: Sequence[Row]) -> int:
        """Write rows and make them stay, as many (from the first) as fit; their number. Raises Full or SpoolFailed."""
        frames = [frame(row) for row in rows]
        try:
            try:
                return self._commit(frames)
            except FileNotFoundError:  # somebody has deleted the segment, or the folder
                self._abandon()
                prepare(self.folder)
                return self._commit(frames)
        except OSError as error:
            self._abandon()
            raise _failure(error) from None

    def _commit(self, frames: list[bytes]) -> int:
        frames = self._fitting(frames)
        if not frames:
            raise Full("PHONON_SPOOL_MAX_BYTES is reached")
        writer = self._writer or self._begin()
        self._write(writer, b"".join(frames))
        if writer.size >= SEGMENT_BYTES:
            self.close()
        return len(frames)

    def _fitting(self, frames: list[bytes]) -> list[bytes]:
        """As many as there is room for."""
        size, now = sum(map(len, frames)), time.monotonic()
        room = self._sure_bytes
        if size > room or now >= self._look_at:
            room = self._most_bytes - used_bytes(self.folder)
            self._sure_bytes, self._look_at = room // SHARERS, now + LOOK_SECONDS
        self._sure_bytes -= size
        if size <= room:
            return frames
        return frames[: bisect_right([*accumulate(map(len, frames))], room)]

    def _begin(self) -> _Writer:
        """A new segment, locked before anyone can see it."""
        self._count += 1
        owner = f"{os.getpid()}.{id(self):x}"
        path = self.folder / f"{time.time_ns() // 1_000_000:013d}-{owner}-{self._count:06d}{SUFFIX}"
        hidden = path.with_suffix(".new")
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._writer = _Writer(path, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._step("created")
        hidden.rename(path)
        self._step("named")
        sync_folder(self.folder)
        return self._writer

    def _write(self, writer: _Writer, data: bytes) -> None:
        view, offset = memoryview(data), writer.size
        while view:
            written = os.pwrite(writer.descriptor, view, offset)
            view, offset = view[written:], offset + written
            self._step("written")
        os.fsync(writer.descriptor)
        if not os.fstat(writer.descriptor).st_nlink:
            raise FileNotFoundError(ENOENT, "the segment was deleted")
        self._step("synced")
        writer.size = offset

    def _abandon(self) -> None:
        """After a failure the segment's tail is unknown: cut it off, and never write to it again."""
        if self._writer is None:
            return
        with suppress(OSError):
            os.ftruncate(self._writer.descriptor, self._writer.size)
        self.close()

    def close(self) -> None:
        """Let go of the present segment, so that it can be deleted once it is drained. What fails here lost nothing."""
        writer, self._writer = self._writer, None  # first: closed twice, its number may be another file's by then
        if writer is not None:
            with suppress(OSError):
                os.close(writer.descriptor)
                writer.path.with_suffix(".new").unlink(missing_ok=True)

    def _idle(self) -> None:
        self.close()
        if self.refusal or time.monotonic() >= self._probe_at:
            self._look()

    def _look(self) -> None:
        """Whether the spool takes rows now; asked while none come, so that somebody mends it before they do."""
        self._probe_at = time.monotonic() + PROBE_SECONDS
        try:
            self._probe()
            self.refusal = ""
        except OSError as error:
            self.refusal = self.refusal or str(_failure(error))
        except Full as error:
            self.refusal = self.refusal or str(error)

    def _probe(self) -> None:
        """Raises unless the spool takes PROBE_BYTES; where its share is small, a quarter of that."""
        prepare(self.folder)  # somebody may have deleted it
        if used_bytes(self.folder) + min(PROBE_BYTES, self._most_bytes // 4) > self._most_bytes:
            raise Full("PHONON_SPOOL_MAX_BYTES is reached")
        path = self.folder / f"probe-{os.getpid()}.new"
        try:
            with path.open("wb") as probe:
                probe.write(bytes(PROBE_BYTES))
                probe.flush()
                os.fsync(probe.fileno())
        finally:
            path.unlink(missing_ok=True)


def _failure(error: OSError) -> Full | SpoolFailed:
    """What an error of the disk means to a delivery."""
    if error.errno in (ENOSPC, EDQUOT, EFBIG):
        return Full(f"the disk is full ({error.strerror})")
    return SpoolFailed(f"the disk fails ({error.strerror})")
