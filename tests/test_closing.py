"""Clients that are let go: waited for by nobody, and what they end with is no news."""

import asyncio
import gc

import pytest
from aiokafka.errors import KafkaConnectionError

from streams import closing


async def fails() -> None:
    raise KafkaConnectionError("gone")


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_a_client_ends_with_is_no_news(caplog: pytest.LogCaptureFixture, cancelled: bool) -> None:
    task = closing.let_go(fails())
    assert task in closing._CLOSING, "nobody else holds it"
    if cancelled:
        task.cancel()
    await asyncio.wait({task})
    await asyncio.sleep(0)
    assert not closing._CLOSING
    del task
    gc.collect()
    assert caplog.messages == []
