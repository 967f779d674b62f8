"""Faust's consumer, handing over whole fetched chunks: the one module that touches Faust's privates (0.15.3, pinned).

Stock Faust makes four tasks and a stream event of every record, 60 to 200 us each; here an agent gets one message per
partition and fetch, whose value is the `Fetched` records, so that Faust's cost is paid once per thousand records.
What is overridden or read, and why:
- `Consumer.getmany` (public): yields one message per chunk.
- `Consumer._wait_next_records`, `._to_message`: the fetch and the message that stock `getmany` itself is made from.
- `Consumer._buffered_partitions`: as in stock `getmany`, partitions that Faust paused for a full buffer.
- `Consumer._read_offset`: cleared before each message. Stock Faust drops what is below it, and puts down the difference
  above it as a gap in an interval tree, offset by offset; the law in `offsets` replaces both.
- `AIOKafkaConsumerThread._create_worker_consumer`: nothing else lets one set how long a fetch may wait for data; with
  Faust's fixed 1.5 s, a record waits that long behind a fetch of the other partitions.
- `AIOKafkaConsumerThread.on_start`, `AIOKafkaConsumer._client`: a cluster that names no brokers yet is asked again; and
  where none of the known brokers answers, those are asked that the settings name.
- `AIOKafkaConsumerThread.on_thread_stop`: aiokafka's consumer can end in being cancelled; a process waits for ever for
  a thread that ends so.
- `AIOKafkaConsumer._coordinator`, its `_push_error_to_user` and `_coordination_task`: after an error in the group
  aiokafka waits until somebody asks for it, which Faust never does, and heartbeats no more. The worker then counts on,
  and takes its partitions back from whoever gets them. Here it joins again; where that task ends, so does the process.
- `AIOKafkaConsumer._fetcher`, its `error_future`, and `._closed`: where the task that fetches ends, aiokafka hands over
  nothing any more, without a word, and keeps its place in the group; so the process ends as well.
- `app.transport` is set before the start.
Offsets: the topic is declared with acks=False, so that Faust commits nothing; they are committed with the state.
The guard of all this is the kill test (tests/test_streams_faults.py).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final, NamedTuple, cast

from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError
from faust.transport.drivers import aiokafka as driver

from schemas.refusals import NOT_PERMITTED
from streams.log import reason
from streams.offsets import Chunk

FETCH_WAIT_MS: Final = 100
REFUSED_SECONDS: Final = 1.0
NAMELESS_SECONDS: Final = 0.2
LOOK_SECONDS: Final = 10.0  # between two looks whether any known broker answers
MOST_WAITING: Final = 50_000  # records handed over and not counted yet; beyond them fetching waits


class Fetched(NamedTuple):
    """Records of one partition, in order, as aiokafka gave them; their place; and when, by a monotonic clock."""

    partition: int
    chunk: Chunk
    records: list[Any]
    generation: int
    at: float


class ChunkConsumer(driver.Consumer):
    """One message per partition and fetch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting = 0
        self._waiting_of = 0

    def _new_consumer_thread(self) -> "ChunkThread":
        return ChunkThread(self, loop=self.loop, beacon=self.beacon)

    def counted(self, fetched: Fetched) -> None:
        """Say that the chunk is done with, whatever became of it."""
        if fetched.generation == self._waiting_of:
            self._waiting -= len(fetched.records)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, Any]]:  # noqa: ASYNC109 - Faust's signature
        """The next chunks, as pairs of partition and message."""
        generation = self.app.consumer_generation_id
        if generation != self._waiting_of:  # a rebalance empties the agents' queues
            self._waiting_of, self._waiting = generation, 0
        if self._waiting > MOST_WAITING:
            await asyncio.sleep(0.005)
            return
        app = cast(Any, self.app)
        try:
            records, active = await self._wait_next_records(timeout)
        except TopicAuthorizationFailedError as error:  # Faust would end the worker without a word
            app.refused(f"Kafka {NOT_PERMITTED} ({error})")
            await asyncio.sleep(REFUSED_SECONDS)
            return
        app.refused(None)
        for tp, chunk in (records or {}).items():  # those from before a rebalance too: the law in `offsets` holds
            if self.should_stop or not self.flow_active:
                return
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                continue
            end = self.highwater(tp)
            place = Chunk(chunk[0].offset, chunk[-1].offset, chunk[-1].offset + 1 if end is None else end)
            message = self._to_message(tp, chunk[-1])
            fetched = Fetched(tp.partition, place, chunk, generation, time.monotonic())
            message.key, message.value = None, cast(Any, fetched)
            self._read_offset[tp] = None
            self._waiting += len(chunk)
            yield tp, message


class ChunkThread(driver.AIOKafkaConsumerThread):
    """Its aiokafka consumer waits FETCH_WAIT_MS at most for data, finds brokers that moved, and joins again."""

    _look: "asyncio.Task[None] | None" = None

    async def on_start(self) -> None:
        """Start. Brokers that are just back from a pause name none: aiokafka would assert, and never join the group."""
        try:
            await super().on_start()
        except Exception as error:  # noqa: BLE001 - Faust would show a traceback
            cast(Any, self.app).ended(f"can't start: {reason(error)}")
        coordinator = cast(Any, self._consumer)._coordinator
        coordinator._push_error_to_user = self._join_again
        coordinator._coordination_task.add_done_callback(self._group_ended)
        cast(Any, self._consumer)._fetcher.error_future.add_done_callback(self._fetching_ended)
        client = cast(Any, self._consumer)._client
        while not client.cluster.brokers() and not self.should_stop:
            await asyncio.sleep(NAMELESS_SECONDS)
            with suppress(KafkaConnectionError):  # gone again
                await client.bootstrap()
        self._look = asyncio.create_task(self._look_for_brokers(), name="look for brokers")

    async def _look_for_brokers(self) -> None:
        """aiokafka asks the brokers that it knows. Where all have moved, it would never find them (its issue 459)."""
        client = cast(Any, self._consumer)._client
        while not self.should_stop:
            await asyncio.sleep(LOOK_SECONDS)
            if not await client.force_metadata_update():
                with suppress(KafkaConnectionError):  # away
                    await client.bootstrap()

    async def on_thread_stop(self) -> None:
        """Stop. Where a fetch has just failed, as while Kafka is away, aiokafka passes on that it cancelled that."""
        if self._look is not None:
            self._look.cancel()
        try:
            await super().on_thread_stop()
        except asyncio.CancelledError:
            await cast(Any, self._consumer)._client.close()

    async def _join_again(self, error: BaseException) -> None:
        """In place of waiting to be asked."""
        cast(Any, self.app).refused(f"the place in the group is lost ({reason(error)}), and it joins again")
        cast(Any, self._consumer)._coordinator.request_rejoin()
        await asyncio.sleep(REFUSED_SECONDS)

    def _group_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()):
            cast(Any, self.app).ended(f"aiokafka left the group for good: {reason(error)}")

    def _fetching_ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if not cast(Any, self._consumer)._closed:
            cast(Any, self.app).ended(f"aiokafka fetches no more: {reason(error) if error else 'it was cancelled'}")

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


class ChunkTransport(driver.Transport):
    """Faust's aiokafka transport with the consumer above."""

    Consumer = ChunkConsumer


def install(app: Any) -> None:
    """Make the app's consumer hand over chunks; before it starts."""
    app.transport = ChunkTransport(app.conf.broker_consumer, app)
