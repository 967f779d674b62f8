"""Waiting for what comes true by itself, on a thread or in a loop; a test fails where it does not within its time."""

import asyncio
import time
from collections.abc import Callable


def eventually(condition: Callable[[], object], within_seconds: float = 20) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_seconds:g} s"
        time.sleep(0.05)


async def until(condition: Callable[[], object], within_seconds: float, told: Callable[[], str] = str) -> None:
    """Wait until it holds, or fail with what is told of why."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_seconds:g} s\n{told()}"
        await asyncio.sleep(0.05)
