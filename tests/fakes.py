"""Fakes of what the receiver's parts talk to, a few lines each; tests of the real things stand beside them.

FakeProducer     as app.producer.Producers: acknowledges when polled, or hangs, or refuses (tests/test_publish.py)
FakePublisher    as app.publish.Publisher
FakeSpool        as app.spool.Spool
FakeRegistry     as schemas.registry.Registry (tests/test_registry.py)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from app.outcomes import State
from app.records import Record
from app.segment import Row
from schemas import SCHEMAS, UnknownId, canonical_text, written_by
from schemas.registry import RegistryError


class FakeProducer:
    """Acknowledges everything at the next poll, unless told otherwise."""

    def __init__(self, topics: frozenset[str], callbacks: Mapping[str, Any] | None = None) -> None:
        self.callbacks = dict(callbacks or {})
        self.topics = topics
        self.hangs = False
        self.away = False
        self.forgot = False  # where Kafka is
        self.in_sync = 3  # of three replicas
        self.leader = 1
        self.refuses: KafkaError | None = None
        self.fatal: KafkaError | None = None  # raised by the next poll; nothing can be produced any more
        self.dead = False
        self.offset: int | None = 7
        self.message = SimpleNamespace(offset=lambda: self.offset)  # as what it acknowledges comes back
        self.produced: list[dict[str, Any]] = []
        self._queue: list[Callable[..., None]] = []

    def of(self, _key: bytes | None) -> Callable[..., None]:
        return self.produce

    def produce(self, topic: str, value: bytes, key: bytes | None, **record: Any) -> None:
        if self.dead:
            raise KafkaException(KafkaError(KafkaError._FATAL))
        if self.refuses is not None and not self.refuses.retriable():
            raise KafkaException(self.refuses)
        self.produced.append({"topic": topic, "value": value, "key": key, **record})
        self._queue.append(record["on_delivery"])

    def poll(self, timeout: float) -> int:
        if self.hangs:
            return 0
        if self.fatal is not None:
            error, self.fatal, self.dead = self.fatal, None, True
            raise KafkaException(error)
        calls, self._queue = self._queue, []
        for call in calls:
            call(self.refuses, self.message)
        return len(calls)

    def purge(self, *, in_queue: bool, in_flight: bool) -> None:
        calls, self._queue = self._queue, []
        for call in calls:
            call(KafkaError(KafkaError._PURGE_QUEUE), None)

    def flush(self, timeout: float) -> int:
        return len(self._queue)

    def list_topics(self, *, timeout: float) -> Any:
        if self.hangs or self.away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        partition = SimpleNamespace(replicas=[1, 2, 3], isrs=[1, 2, 3][: self.in_sync], leader=self.leader)
        topic = SimpleNamespace(error=None, partitions={0: partition})
        return SimpleNamespace(topics=dict.fromkeys(self.topics, topic))

    def lost(self) -> bool:
        return self.forgot

    def statistics(self) -> tuple[int, int, int]:
        return len(self), 0, 1

    def __len__(self) -> int:
        return len(self._queue)


class FakePublisher:
    """Takes everything, or raises what it is told to."""

    def __init__(self, raises: Exception | None = None) -> None:
        self.state = State.HEALTHY
        self.raises = raises
        self.published: list[Record] = []

    async def publish(self, records: Sequence[Record], *, live: bool = True) -> None:
        if self.raises is not None:
            raise self.raises
        self.published += records


class FakeSpool:
    """Keeps everything, or raises what it is told to."""

    def __init__(self, raises: Exception | None = None) -> None:
        self.raises = raises
        self.kept: list[Row] = []

    async def keep(self, row: Row) -> None:
        if self.raises is not None:
            raise self.raises
        self.kept.append(row)


class FakeRegistry:
    """Away until told otherwise; then it knows these records, by their schemas' ids."""

    def __init__(self, records: Mapping[int, str]) -> None:
        self.records = records
        self.away, self.known = True, dict[int, Any]()

    def resolve(self, id_: int) -> Any:
        if id_ not in self.known:
            raise UnknownId(id_)
        return self.known[id_]

    def learn(self, ids: Iterable[int]) -> None:
        if self.away:
            raise RegistryError("the schema registry does not answer")
        self.known |= {id_: written_by(canonical_text(SCHEMAS[self.records[id_]])) for id_ in ids}
