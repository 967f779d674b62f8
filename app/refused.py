"""Bodies refused as no delivery (400, 422, 413 for their rows) stay on disk for a while: nobody will send them again.

When the provider changes its format every call is refused until a version reads it; then `phonon-events send` of this
folder brings them in. Its rules:
- Only what passed the credentials comes here, and nothing is kept where a privacy setting takes something out of
  deliveries: what can't be read can't be redacted either.
- A body is one file named by its digest, so what a sender repeats is kept once.
- It is no promise, and the answer says so: written beside the answer, on a thread, without an fsync, for KEPT_SECONDS.
  All together have about a SHARE of what the spool may take, on top of that; the oldest go first. A larger body is
  not kept, as all others would have to go for it.
"""

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

FOLDER: Final = "refused"
#: Of PHONON_SPOOL_MAX_BYTES: 64 MiB of 1 GiB, some 16,000 deliveries.
SHARE: Final = 16
KEPT_SECONDS: Final = 7 * 24 * 3600  # as long as the topics keep theirs
LEAST_FILE_BYTES: Final = 4096  # what the smallest file takes of a disk
#: What may wait for a slow disk, counted as it will lie there: 1,024 of the smallest.
MOST_WAITING_BYTES: Final = 4 * 1024 * 1024
SWEEP_SECONDS: Final = 3600.0


class RefusedBodies:
    """The folder of refused bodies inside a spool's folder; with no room for any, none are kept."""

    def __init__(self, spool: Path, *, spool_bytes: int, kept: Callable[[], None] = lambda: None) -> None:
        self.folder = spool / FOLDER
        self.most_bytes = spool_bytes // SHARE
        self._kept = kept
        self._thread = ThreadPoolExecutor(1, "refused")
        self._waiting_bytes = 0
        self._failing = False
        self._unswept_bytes = 0

    def keep(self, body: bytes) -> None:
        """Keep a body soon, unless it has no room or too many wait already. On the event loop."""
        taken = _taken(len(body))
        if taken <= self.most_bytes and self._waiting_bytes < MOST_WAITING_BYTES:
            self._waiting_bytes += taken
            written = asyncio.wrap_future(self._thread.submit(self.write, body))
            written.add_done_callback(partial(self._written, taken))

    def _written(self, taken: int, future: "asyncio.Future[None]") -> None:
        self._waiting_bytes -= taken
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._kept()
        elif not self._failing:
            log.warning("refused bodies can't be kept: %s", _why(error))
        self._failing = error is not None

    async def run(self) -> None:
        """Let go of what is too old, at the start and every hour."""
        while True:
            try:
                await asyncio.wrap_future(self._thread.submit(self.sweep, now=time.time()))
            except OSError as error:
                log.warning("old refused bodies can't be deleted: %s", _why(error))
            await asyncio.sleep(SWEEP_SECONDS)

    def stop(self) -> None:
        """Keep what waits, and end; blocks."""
        self._thread.shutdown()

    # ---- on the thread

    def write(self, body: bytes) -> None:
        """Keep a body now, and let the oldest go where they are too many. Raises OSError."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        path = self.folder / f"{hashlib.blake2b(body, digest_size=16).hexdigest()}.json"
        new = path.with_suffix(f".{os.getpid()}")
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(body)
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        self._unswept_bytes += _taken(len(body))
        if self._unswept_bytes > self.most_bytes // 8:  # each process may exceed the share by so much
            self.sweep(now=time.time())

    def sweep(self, *, now: float) -> None:
        """Delete what is older than KEPT_SECONDS, and the oldest beyond the share."""
        self._unswept_bytes = 0
        if not self.folder.is_dir():
            return
        total = 0
        for written_at, size, path in sorted(self._files(), reverse=True):
            total += _taken(size)
            if total > self.most_bytes or written_at < now - KEPT_SECONDS:
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """When each file was last written, its size, and its path; folders that somebody made are left alone."""
        for path in filter(Path.is_file, self.folder.iterdir()):
            with suppress(FileNotFoundError):  # another process of this receiver let it go
                stat = path.stat()
                yield stat.st_mtime, stat.st_size, path


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _taken(size: int) -> int:
    return max(size, LEAST_FILE_BYTES)
