"""How far the source's log reaches, by partition: asked over a connection of its own.

Faust has one queue for all that its consumer is asked, and a question about a partition without a leader stays in it
for half a minute: meanwhile nothing is fetched, sought or handed over, of any partition.

Where no partition answers, it is asked over a new connection: aiokafka only knows the brokers that it has seen, and
where those moved, or the first one that it asked named none, it never finds them.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.closing import let_go, stop

ANSWER_WITHIN_SECONDS: Final = 3.0
REQUEST_MS: Final = 2500  # less than that: else nobody hangs up on a connection that is dead and was not closed


class Ends:
    """The ends of a topic's partitions. `connection`: arguments for aiokafka's clients."""

    def __init__(self, topic: str, connection: dict[str, Any]) -> None:
        self._topic, self._connection = topic, connection
        self._consumer: AIOKafkaConsumer | None = None

    async def of(self, partitions: Iterable[int]) -> dict[int, int]:
        """The ends of those that answer in time. Each is asked alone, so that one without a leader hides no other."""
        try:
            consumer = self._consumer or await self._begin()
        except (KafkaError, OSError):
            return {}
        numbers = list(partitions)
        answers = await asyncio.gather(*[self._end(consumer, number) for number in numbers])
        found = {number: end for number, end in zip(numbers, answers, strict=True) if end is not None}
        if numbers and not found:
            self.close()
        return found

    async def _begin(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(**self._connection, enable_auto_commit=False, request_timeout_ms=REQUEST_MS)
        try:
            await consumer.start()
        except BaseException:
            let_go(stop(consumer))
            raise
        self._consumer = consumer
        return consumer

    async def _end(self, consumer: AIOKafkaConsumer, number: int) -> int | None:
        place = TopicPartition(self._topic, number)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                end: int = (await consumer.end_offsets([place]))[place]
        except (KafkaError, OSError, TimeoutError):
            return None
        return end

    def close(self) -> None:
        """Let go of the connection."""
        if self._consumer is not None:
            let_go(stop(self._consumer))
            self._consumer = None
