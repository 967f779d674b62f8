"""The state's log in Kafka: one writer per partition, fenced by Kafka; and reading it back.

Each partition has a transactional id of its own. Whoever opens it fences whoever had it before, and ends what that one
left open, before the log is read: from then on a paused or cut off former owner can write nothing, neither state nor
metrics, whatever it still believes. Ownership follows from the log, not from the consumer group's opinion.
A flush is one transaction: buckets, the offset that comes next, rejected records, live metrics and the offset the group
commits, all or none. Readers with isolation read_committed never see a part.
Source: KIP-98 (transactions), KIP-447 describes the same fencing for Kafka Streams.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import murmur2

from streams.closing import let_go, stop

logger = logging.getLogger("streams.changelog")

BATCH_BYTES = 256 * 1024
TRANSACTION_TIMEOUT_MS = 20_000
WRITE_WITHIN_SECONDS = 15.0
CLOSE_WITHIN_SECONDS = 2.0
ASK_WITHIN_SECONDS = 5.0
OPEN_WITHIN_SECONDS = 3.0  # a dead writer's transaction is fenced in tens of ms
STILL_SECONDS = 30.0  # without a record while reading; its client may know none of the brokers any more

Sent = tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]  # topic, key, value, headers


class Place(NamedTuple):
    """Where a partition's state is kept, and how to get there."""

    group: str
    changelog: str
    source: str
    partition: int
    connection: dict[str, Any]


class Writer:
    """The one writer of a partition's state and metrics; `open` fences all earlier ones.

    `role` names something else that the partition's owner writes, with a fence of its own.
    """

    def __init__(self, place: Place, role: str = "") -> None:
        self._place = place
        self._producer = AIOKafkaProducer(
            **place.connection,
            transactional_id=f"{place.group}-{role or place.partition}",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            max_batch_size=BATCH_BYTES,
            max_request_size=8 * 1024 * 1024,
            request_timeout_ms=10_000,
        )

    async def open(self) -> None:
        """Fence earlier writers. Raises KafkaError or TimeoutError."""
        async with asyncio.timeout(WRITE_WITHIN_SECONDS):
            await self._producer.start()

    async def write(self, records: Iterable[Sent], *, next_offset: int | None) -> None:
        """One transaction; returns once it is committed. Raises KafkaError or TimeoutError: then nothing is certain."""
        by_topic: dict[str, list[Sent]] = {}
        for record in records:
            by_topic.setdefault(record[0], []).append(record)
        async with asyncio.timeout(WRITE_WITHIN_SECONDS):
            await self._producer.begin_transaction()
            await asyncio.gather(*[self._send(topic, sent) for topic, sent in by_topic.items()])
            if next_offset is not None:
                offsets = {TopicPartition(self._place.source, self._place.partition): next_offset}
                await self._producer.send_offsets_to_transaction(offsets, self._place.group)
            await self._producer.commit_transaction()

    async def write_keyed(self, records: Iterable[Sent]) -> None:
        """The same for records placed by their keys, as Java clients do; those of the changelog lie at this place."""
        place, producer = self._place, self._producer
        async with asyncio.timeout(WRITE_WITHIN_SECONDS):
            await producer.begin_transaction()
            acks = []
            for topic, key, value, headers in records:
                partition = place.partition if topic == place.changelog else None
                acks.append(await producer.send(topic, value, key=key, headers=headers, partition=partition))
            await asyncio.gather(*acks)
            await producer.commit_transaction()

    async def places(self, topic: str) -> list[TopicPartition]:
        """All partitions of a topic."""
        return [TopicPartition(topic, number) for number in sorted(await self._producer.partitions_for(topic))]

    async def _send(self, topic: str, records: list[Sent]) -> None:
        producer, partition, acks = self._producer, self._place.partition, []
        batch = producer.create_batch()
        for _, key, value, headers in records:
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                acks.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=headers)
        acks.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*acks)

    async def close(self) -> None:
        """Let go. Where no broker answers, the producer ends by itself, later; the next owner fences it."""
        await asyncio.wait({let_go(stop(self._producer))}, timeout=CLOSE_WITHIN_SECONDS)


def home(key: bytes, partitions: int) -> int:
    """The partition of a key, as with Java clients."""
    number: int = murmur2(key) & 0x7FFFFFFF
    return number % partitions


async def first_from(place: Place, offset: int) -> tuple[int, int]:
    """Where the source's log begins, and its first offset from this one on that holds a record, or may.

    Raises KafkaError or TimeoutError. A second's reading finds it: aiokafka's position moves over what holds no record
    (deleted ones, the marker at the end of a transaction), and stays where it knows of none.
    """
    source = TopicPartition(place.source, place.partition)
    async with _reader(place) as consumer, asyncio.timeout(ASK_WITHIN_SECONDS):
        begin = (await consumer.beginning_offsets([source]))[source]
        consumer.assign([source])
        consumer.seek(source, offset)
        records = (await consumer.getmany(timeout_ms=1000, max_records=1)).get(source)
        return begin, records[0].offset if records else await consumer.position(source)


async def read(
    place: Place, restore: Callable[[bytes, bytes | None], None], progress: Callable[[float], None]
) -> tuple[int, int]:
    """Hand every committed record of the changelog to `restore`; returns where the source's log begins and ends.

    The partition's writer and the groups' both write to it. What one has committed can't be seen as long as the other
    has a transaction open that began earlier. A writer that died is fenced meanwhile by whoever takes over from it, so
    it is waited for, but not for long: Kafka can lose sight of a transaction and never end it.
    Raises KafkaError, or TimeoutError where reading stands still: aiokafka itself would try for ever.
    """
    async with asyncio.timeout(STILL_SECONDS) as still:
        return await _read(place, restore, progress, still)


def goes_on(still: asyncio.Timeout) -> None:
    """Something was read: the time in which that must happen again begins anew."""
    still.reschedule(asyncio.get_running_loop().time() + STILL_SECONDS)


async def _read(
    place: Place,
    restore: Callable[[bytes, bytes | None], None],
    progress: Callable[[float], None],
    still: asyncio.Timeout,
) -> tuple[int, int]:
    log, source = TopicPartition(place.changelog, place.partition), TopicPartition(place.source, place.partition)
    starts, ends = await _bounds(place, [log, source])
    start, end = starts[log], ends[log]
    if start > 0:  # compaction alone leaves it at 0
        logger.warning(
            "partition %d: %s begins at offset %d: Kafka has deleted a part of the state, figures may be too low: "
            "see 'StateExpires' in docs/runbook.md", place.partition, place.changelog, start,
        )  # fmt: skip
    async with _reader(place, isolation_level="read_committed", max_partition_fetch_bytes=8 * 1024 * 1024) as consumer:
        consumer.assign([log])
        consumer.seek(log, at := start)
        while at < end:
            visible = await _visible(consumer, log, at)
            if visible <= at:
                logger.warning(
                    "partition %d: a transaction is open in %s at offset %d, what lies behind it can't be seen: see "
                    "'PartitionsRecovering' in docs/runbook.md", place.partition, place.changelog, at,
                )  # fmt: skip
                break
            while (at := await consumer.position(log)) < visible:
                progress(min(1.0, (at - start) / (end - start)))
                for record in (records := (await consumer.getmany(timeout_ms=200)).get(log, ())):
                    restore(record.key, record.value)
                if records:
                    goes_on(still)
                await asyncio.sleep(0)
        return starts[source], ends[source]


async def _visible(consumer: AIOKafkaConsumer, log: TopicPartition, at: int) -> int:
    """Up to where all transactions have ended; waits a moment for that to lie beyond this offset."""
    until, visible = time.monotonic() + OPEN_WITHIN_SECONDS, -1
    while visible <= at and time.monotonic() < until:
        visible = (await consumer.end_offsets([log]))[log]
        if visible <= at:
            await asyncio.sleep(0.05)
    return visible


async def _bounds(
    place: Place, logs: list[TopicPartition]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Where logs begin and end; to a reader of what is committed only they would end at an open transaction."""
    async with _reader(place) as consumer:
        return await consumer.beginning_offsets(logs), await consumer.end_offsets(logs)


@asynccontextmanager
async def _reader(place: Place, **more: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that commits nothing, for as long as the block runs."""
    consumer = AIOKafkaConsumer(
        **place.connection, enable_auto_commit=False, auto_offset_reset="earliest", request_timeout_ms=10_000, **more
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        let_go(stop(consumer))
