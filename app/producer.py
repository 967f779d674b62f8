"""The receiver's producer: the properties that its promise stands on, the user's, and librdkafka's word on both.

Nothing here asks a broker. `RESERVED` here and `PROMISED` in schemas/settings.py are what settings may not change.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from confluent_kafka import KafkaException, Producer

from app.kafka_errors import property_of, refused_property
from schemas.settings import Settings, SettingsError, kafka_setting
from schemas.topics import record_limit_bytes

QUEUE_MESSAGES: Final = 200_000
#: What a user must not set, because the receiver reads it, or takes it to be so.
RESERVED: Final = ("transactional.id", "delivery.report.only.error", "message.max.bytes", "statistics.interval.ms")


class KafkaProducer(Protocol):
    """As much of confluent_kafka.Producer as is used here."""

    @property
    def produce(self) -> Callable[..., None]: ...
    def poll(self, timeout: float) -> int: ...
    def purge(self, *, in_queue: bool, in_flight: bool) -> None: ...
    def flush(self, timeout: float) -> int: ...
    def list_topics(self, *, timeout: float) -> Any: ...
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


def open_producer(config: Mapping[str, Any], callbacks: Mapping[str, Any]) -> KafkaProducer:
    """A producer. Raises SettingsError for properties that librdkafka refuses."""
    try:
        return Producer({**config, **callbacks}, logger=logging.getLogger("librdkafka"))
    except (KafkaException, ValueError, TypeError) as error:
        text = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        raise SettingsError(refused_property(text, config)) from None
