"""The receiver's producers: the properties that its promise stands on, the user's, and librdkafka's word on both.

librdkafka sends the records of one partition a request (its issue 1700), and an idempotent producer has at most 5
requests on their way on a connection. With one producer each delivery waits for the partitions of all DIDs: 7 topics of
8 partitions are 12 round trips. So a process has several producers, each with partitions and connections of its own.

`RESERVED` here and `PROMISED` in schemas/settings.py are what settings may not change.
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Final, Protocol

import msgspec
from aiokafka.partitioner import murmur2
from confluent_kafka import KafkaException, Producer

from app.kafka_errors import property_of, refused_property
from schemas.settings import Settings, SettingsError, kafka_setting
from schemas.topics import record_limit_bytes

QUEUE_MESSAGES: Final = 200_000  # of each producer
KEYS_KNOWN: Final = 65_536
#: What a user must not set, because the receiver reads it, or takes it to be so.
RESERVED: Final = ("transactional.id", "delivery.report.only.error", "message.max.bytes", "statistics.interval.ms")


class Connection(msgspec.Struct):
    """A connection, in librdkafka's words."""

    state: str


class Statistics(msgspec.Struct):
    """As much as is used of librdkafka's statistics: messages and bytes that wait, and its connections by name."""

    msg_cnt: int = 0
    msg_size: int = 0
    brokers: dict[str, Connection] = {}


NOT_TOLD: Final = Statistics()


class KafkaProducer(Protocol):
    """As much of `Producers` as the publisher uses."""

    def of(self, key: bytes | None) -> Callable[..., None]: ...
    def poll(self, timeout: float) -> int: ...
    def purge(self, *, in_queue: bool, in_flight: bool) -> None: ...
    def flush(self, timeout: float) -> int: ...
    def list_topics(self, *, timeout: float) -> Any: ...
    def lost(self) -> bool: ...
    def statistics(self) -> tuple[int, int, int]: ...
    def __len__(self) -> int: ...


def producer_config(settings: Settings) -> dict[str, Any]:
    """The producer's properties: ours, then the user's. Raises SettingsError where these would break the promise."""
    for name in RESERVED:
        if name in settings.kafka:
            raise SettingsError(f"{kafka_setting(name)} can't be set: the receiver depends on its own")
    ours: dict[str, Any] = {
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": 10,
        "compression.type": "lz4",
        "message.timeout.ms": int(settings.answer_within * 1000) + 1000,
        "socket.timeout.ms": 2000,
        "reconnect.backoff.max.ms": 500,
        "queue.buffering.max.messages": QUEUE_MESSAGES,
        "queue.buffering.max.kbytes": 262_144,
        "statistics.interval.ms": 1000,
        "message.max.bytes": record_limit_bytes(settings.max_body_bytes),
        "client.id": "phonon-receiver",
    }
    for name, value in settings.kafka.items():
        if property_of(name) == "message.timeout.ms":
            _check_timeout(kafka_setting(name), value, settings.answer_within)
    users = set(map(property_of, settings.kafka))
    return {name: value for name, value in ours.items() if property_of(name) not in users} | dict(settings.kafka)


def _check_timeout(setting: str, value: str, answer_within: float) -> None:
    if not value.strip().isdecimal():
        raise SettingsError(f"{setting} is {value!r}: expected a whole number of milliseconds")
    if int(value) <= answer_within * 1000:
        raise SettingsError(f"{setting} must be above PHONON_ANSWER_WITHIN (in ms)")


@lru_cache(KEYS_KNOWN)
def _hash(key: bytes | None) -> int:
    """What the partitioner takes a partition's number from."""
    return murmur2(key) & 0x7FFFFFFF if key else 0


class Producers:
    """Several of librdkafka's producers, used as one: its methods are confluent_kafka's, and raise the same."""

    def __init__(self, opened: Callable[[Mapping[str, Any]], Producer], number: int) -> None:
        self._told = [""] * number
        self._all = [opened({"stats_cb": partial(self._told.__setitem__, one)}) for one in range(number)]

    def of(self, key: bytes | None) -> Callable[..., None]:
        """The `produce` for a delivery, by the key that its records have, or most of them.

        All keys of a partition have the same, where the number of producers divides that of partitions: so requests
        are as few and as large as with one producer.
        """
        produce: Callable[..., None] = self._all[_hash(key) % len(self._all)].produce
        return produce

    def poll(self, timeout: float) -> int:
        return sum(one.poll(timeout) for one in self._all)

    def purge(self, *, in_queue: bool, in_flight: bool) -> None:
        for one in self._all:
            one.purge(in_queue=in_queue, in_flight=in_flight)

    def flush(self, timeout: float) -> int:
        end = time.monotonic() + timeout
        return sum(one.flush(max(0.0, end - time.monotonic())) for one in self._all)

    def list_topics(self, *, timeout: float) -> Any:
        for one in self._all:  # of each: whether it is connected, and it learns who leads what
            found = one.list_topics(timeout=timeout)
        return found

    def lost(self) -> bool:
        """Whether one of them has forgotten all brokers: it finds none any more (see REPLACED_AFTER_SECONDS)."""
        return any(one is not NOT_TOLD and not one.brokers for one in self._statistics())

    def __len__(self) -> int:
        return sum(map(len, self._all))

    def statistics(self) -> tuple[int, int, int]:
        """Of the last second: messages and bytes in the queues, brokers that any of them is connected to."""
        all_of_them = self._statistics()
        up = {name for one in all_of_them for name, broker in one.brokers.items() if broker.state == "UP"}
        return sum(one.msg_cnt for one in all_of_them), sum(one.msg_size for one in all_of_them), len(up)

    def _statistics(self) -> list[Statistics]:
        return [msgspec.json.decode(text, type=Statistics) if text else NOT_TOLD for text in self._told]


def open_producers(config: Mapping[str, Any], number: int, callbacks: Mapping[str, Any]) -> Producers:
    """So many producers. Raises SettingsError for properties that librdkafka refuses."""
    log = logging.getLogger("librdkafka")
    try:
        return Producers(lambda more: Producer({**config, **callbacks, **more}, logger=log), number)
    except (KafkaException, ValueError, TypeError) as error:
        text = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        raise SettingsError(refused_property(text, config)) from None
