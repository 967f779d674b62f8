"""Letting go of aiokafka's clients without waiting for them.

Over TLS a client that is closed waits until the broker has closed its side too. Now and then (one of sixteen, measured
with Kafka 4.3 and uvloop) that never comes, and it takes the 30 s after which the event loop gives up; where no broker
answers, a producer waits until its batches expire. Nothing depends on either, so it happens beside what comes next.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

_CLOSING: set["asyncio.Task[None]"] = set()


def let_go(closing: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Have a client close in its own time; the task that does, for whoever wants to wait a little."""
    task = asyncio.create_task(closing, name="close a client")
    _CLOSING.add(task)
    task.add_done_callback(_closed)
    return task


async def stop(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Stop a client, and close its connections even where stopping fails.

    A consumer whose fetch has just failed, and a producer that is fenced while it stops, give up half-way: they stay
    connected for ever, and go on asking for metadata.
    """
    try:
        await client.stop()
    finally:
        await (client.client if isinstance(client, AIOKafkaProducer) else client._client).close()


def _closed(task: "asyncio.Task[None]") -> None:
    """Forget it. If it failed: what went wrong before that was told."""
    _CLOSING.discard(task)
    if not task.cancelled():
        task.exception()
