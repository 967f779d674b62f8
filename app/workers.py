"""N processes that share one listening socket, kept by a parent that replaces those that die.

uvicorn's own supervisor is not used: its workers end with the signal's code, not 0, and can't be told to linger.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final

DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
MEMORY: Final = "/dev/shm"  # noqa: S108 - the folder in it has a name of its own, and is ours alone
RESTART_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.5


def keep_workers(
    target: Callable[..., Any], arguments: tuple[Any, ...], workers: int, *, on_stop: Callable[[], None]
) -> int:
    """Run that many processes of `target` until a signal says stop; the exit code.

    `on_stop` lets go of what the parent holds for them. If the parent kept the socket open, connections made after the
    last worker stopped listening would hang instead of being refused.
    """
    with _shared_metrics():
        return _Crew(target, arguments).run(workers, on_stop)


def follow_parent(stop: Callable[[], None]) -> None:
    """In a worker: call `stop` when the parent is gone, since nobody would replace or stop us any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            wait([parent.sentinel])
            stop()

        threading.Thread(target=watch, name="parent", daemon=True).start()


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """A folder in which the workers keep their metrics; prometheus_client looks for it when it is imported.

    In memory, if that can be: a process that counts in a mapped file for which the disk has no room is killed (SIGBUS).
    """
    if os.environ.get(DIRECTORY):
        yield
        return
    memory = MEMORY if os.access(MEMORY, os.W_OK | os.X_OK) else None
    with tempfile.TemporaryDirectory(prefix="phonon-metrics-", dir=memory) as folder:
        os.environ[DIRECTORY] = folder
        try:
            yield
        finally:
            del os.environ[DIRECTORY]


class _Crew:
    """The parent."""

    def __init__(self, target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._target = target
        self._arguments = arguments
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[SpawnProcess] = []
        self._stopping = False

    def run(self, workers: int, on_stop: Callable[[], None]) -> int:
        """Keep the workers until told to stop."""
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, self._stop)
        for _ in range(workers):
            self._start()
        while not self._stopping:
            wait([process.sentinel for process in self._processes], timeout=LOOK_SECONDS)
            self._replace()
        on_stop()
        for process in self._processes:
            process.join()
        return 0

    def _start(self) -> None:
        process = self._context.Process(target=self._target, args=self._arguments)
        self._processes.append(process)
        resource_tracker.ensure_running()  # else the first start begins it, which ends the blocking
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # in the process: until it can heed it
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if self._stopping:  # the signal came before there was anybody to pass it on to
            process.terminate()

    def _replace(self) -> None:
        for process in [process for process in self._processes if process.exitcode is not None]:
            if self._stopping:
                return
            sys.stderr.write(f"phonon-events: worker {process.pid} ended ({process.exitcode}); starting another\n")
            time.sleep(RESTART_SECONDS)
            try:
                self._start()
            except OSError as error:  # no memory, or as many processes as there may be: the next look tries again
                sys.stderr.write(f"phonon-events: no worker can be started: {error.strerror}\n")
                self._processes.pop()
            else:
                self._processes.remove(process)

    def _stop(self, sig: int, _frame: Any) -> None:
        self._stopping = True
        for process in self._processes:
            if process.pid is not None and process.exitcode is None:
                os.kill(process.pid, sig)
