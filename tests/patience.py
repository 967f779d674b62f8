"""Waiting for what a process, a thread or a task brings about: ask until it is so, and fail with why if it never is."""

import asyncio
import time
from collections.abc import Callable


def eventually(condition: Callable[[], object], within_seconds: float = 20, told: Callable[[], str] = str) -> None:
    """Ask ten times a second."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_seconds:g} s\n{told()}"
        time.sleep(0.1)


async def until(condition: Callable[[], object], within_seconds: float, told: Callable[[], str] = str) -> None:
    """Ask twenty times a second, and let the event loop run meanwhile."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_seconds:g} s\n{told()}"
        await asyncio.sleep(0.05)
