"""A deadline stops what is awaited in it, and nothing else."""

import asyncio

import pytest

from app.deadline import Deadline


async def test_what_is_late_is_stopped() -> None:
    with pytest.raises(TimeoutError), Deadline(0.01):
        await asyncio.sleep(5)
    await asyncio.sleep(0)  # nothing is left of it


async def test_what_is_in_time_goes_on() -> None:
    with Deadline(0.05):
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)


async def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), Deadline(1):
        raise KeyError


@pytest.mark.parametrize("seconds", [5.0, 0.02])
async def test_whoever_is_cancelled_stays_cancelled(seconds: float) -> None:
    async def waits() -> None:
        with Deadline(seconds):
            await asyncio.sleep(5)

    task = asyncio.create_task(waits())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_deadline_in_a_deadline() -> None:
    with pytest.raises(TimeoutError), Deadline(0.01), Deadline(5):
        await asyncio.sleep(5)
