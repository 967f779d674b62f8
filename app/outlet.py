"""A spool from outside: what waits in it, whoever wrote it; rows are marked as sent, and segments deleted.

The drainer's side of spool.py, whose rules hold here too: marking and deleting need no free disk, and what can't be
read is set aside, where it is in nobody's way.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from pathlib import Path

from app.outcomes import SpoolStatus, Waiting
from app.segment import KEPT, SENT, STATE_OFFSET, read_frames
from app.spool import ASIDE, segments, sync_folder, used_bytes


def status(folder: Path, *, now: float | None = None) -> SpoolStatus:
    """What waits in a spool, whoever it belongs to. Reads, never writes."""
    rows, size, oldest = 0, 0, 0
    for waiting in _kept(folder):
        rows += 1
        size += len(waiting.row.body)
        oldest = min(oldest or waiting.row.received_at, waiting.row.received_at)
    aside = folder / ASIDE
    damaged = sum(1 for _ in aside.iterdir()) if aside.is_dir() else 0
    age = (time.time() if now is None else now) - oldest / 1000 if rows else 0.0
    return SpoolStatus(rows, size, max(age, 0.0), damaged, used_bytes(folder) if aside.is_dir() else 0)


class SparingStatus:
    """`status` for those who ask often. It reads all that waits, so it is taken for at most a twentieth of the time."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._next = float("-inf")
        self._last = SpoolStatus(0, 0, 0.0, 0)

    def __call__(self) -> SpoolStatus:
        """The status now, or of a moment ago."""
        began = self._clock()
        if began >= self._next:
            self._last = status(self._folder)
            ended = self._clock()
            self._next = ended + 19 * (ended - began)
        return self._last


def _kept(folder: Path) -> Iterator[Waiting]:
    """All rows that wait; oldest first, as far as each writer's own are in order."""
    writers: dict[str, list[Path]] = {}
    for path in segments(folder):
        writers.setdefault(path.stem.partition("-")[2].rpartition("-")[0], []).append(path)
    return merge(*(_kept_in(paths) for paths in writers.values()), key=lambda waiting: waiting.row.received_at)


def _kept_in(paths: Sequence[Path]) -> Iterator[Waiting]:
    for path in paths:
        try:
            with path.open("rb") as segment:
                for found in read_frames(segment):
                    if found.row is not None:
                        yield Waiting(found.row, path, found.start)
        except FileNotFoundError:
            continue


@dataclass(slots=True)
class Outlet:
    """The drainer's side of a spool: reads every segment, marks rows as sent, deletes what is done with. One at a time.

    All of it blocks and belongs on a thread.
    """

    folder: Path
    _lock: int = -1

    def acquire(self) -> bool:
        """Become the one drainer of this spool, or learn that another process is it."""
        if self._lock == -1:
            descriptor = os.open(self.folder / "drain.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return False
            self._lock = descriptor
        return True

    def release(self) -> None:
        """Let another process drain."""
        if self._lock != -1:
            os.close(self._lock)
            self._lock = -1

    def waiting(self) -> Iterator[Waiting]:
        """The rows that wait, oldest first."""
        return _kept(self.folder)

    def mark_sent(self, sent: Sequence[Waiting]) -> None:
        """These rows are in Kafka."""
        for path in {waiting.path for waiting in sent}:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                for waiting in sent:
                    if waiting.path == path:
                        os.pwrite(descriptor, SENT, waiting.start + STATE_OFFSET)
            finally:
                os.close(descriptor)

    def set_aside(self, waiting: Waiting) -> None:
        """Keep a row that can't be published where it is in nobody's way."""
        digest = hashlib.blake2b(waiting.row.body, digest_size=4).hexdigest()
        self._keep_aside(f"{waiting.row.received_at}-{digest}.body", waiting.row.body)
        self.mark_sent([waiting])

    def sweep(self) -> int:
        """Delete the segments that nobody writes to and no row waits in; the number of damages set aside from them.

        One whose damage can't be set aside stays, and the others go all the same: that may make room. Raises OSError
        for it afterwards.
        """
        damaged, failure = 0, None
        for path in segments(self.folder):
            try:
                damaged += self._sweep(path)
            except OSError as error:
                failure = error
        if failure:
            raise failure
        return damaged

    def _sweep(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as segment:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            if any(one.state == KEPT for one in read_frames(segment)):
                return 0  # at the first row that waits: in an outage this looks at every segment, again and again
            damages = list(read_frames(segment))
            for one in damages:
                segment.seek(one.start)
                self._keep_aside(f"{path.stem}-{one.start}.damaged", segment.read(one.end - one.start))
            path.unlink()
        return len(damages)

    def _keep_aside(self, name: str, content: bytes) -> None:
        path = self.folder / ASIDE / name
        with path.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
