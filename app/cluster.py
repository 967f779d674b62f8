"""Reaching the Kafka cluster: a client by the settings, and one clear line where it does not answer.

For all but the receiver's producer (app/producer.py): commands, the live page, notify.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from app.kafka_errors import REFUSALS, REPLACED_AFTER_SECONDS, refusal, refused_property
from schemas.settings import SettingsError

ANSWER_WITHIN_S: Final = 8.0
LOOK_S: Final = 1.0
PAUSE_S: Final = 0.1
UNREACHABLE: Final = frozenset({KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN})
#: What a broker says of a partition that was just made, or whose leader has just died.
NO_LEADER: Final = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})
#: A broker that is not there counts as such after 5 s; librdkafka's own lines stay off the terminal.
CLIENT: Final = {"socket.connection.setup.timeout.ms": "5000", "log_level": "0"}

PRODUCER_ONLY: Final = (
    "acks",
    "enable.idempotence",
    "partitioner",
    "linger.ms",
    "compression.type",
    "message.timeout.ms",
)

#: A consumer that only looks: it commits nothing, sees only what is committed, and is told where a partition ends.
ONLOOKER: Final = {
    "enable_auto_commit": "false",
    "enable_auto_offset_store": "false",
    "enable_partition_eof": "true",
    "isolation_level": "read_committed",
    "auto_offset_reset": "earliest",
}
POLL_S: Final = 0.2  # how long a command waits for records at a time
#: Errors of a partition that waiting does not mend.
LOST: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED})

Answer = TypeVar("Answer")
Made = TypeVar("Made")


class ClusterError(Exception):
    """Kafka can't do what was asked; the text is one line that says why."""


class Errors:
    """librdkafka's `error_cb`: keeps the error that explains best why nothing answers."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self.reason = ""
        self._answered_at = time.monotonic()
        self._silent = "is KAFKA_SECURITY_PROTOCOL right?"  # what mere silence may mean

    def __call__(self, error: KafkaError) -> None:
        told = "" if error.code() == KafkaError._ALL_BROKERS_DOWN else one_line(error)  # that one explains nothing
        self.reason = refusal(error) or self.reason or told

    def well(self) -> None:
        """Kafka has answered: nothing is wrong now, and the settings are right."""
        self.reason, self._silent = "", "it did before: it hangs, or the network is cut"
        self._answered_at = time.monotonic()

    @property
    def long_silent(self) -> bool:
        """Whether a new client should take this one's place."""
        return time.monotonic() - self._answered_at > REPLACED_AFTER_SECONDS

    @property
    def refused(self) -> bool:
        """Whether asking again is of no use."""
        return self.reason in REFUSALS

    def line(self) -> str:
        """Why nothing answers."""
        if self.refused:
            return f"Kafka at {self.servers} {self.reason}"
        return f"no answer from Kafka at {self.servers} ({self.reason or self._silent})"


def connect(kind: Callable[[dict[str, Any]], Made], kafka: Mapping[str, str], errors: Errors, **own: str) -> Made:
    """An admin client or a consumer for this cluster. Raises SettingsError for a property that librdkafka refuses.

    What only a producer knows is left out; `own` are the properties of this use, with _ for dots.
    """
    settings = {name: value for name, value in kafka.items() if name not in PRODUCER_ONLY}
    settings |= {name.replace("_", "."): value for name, value in own.items()}
    try:
        return kind(CLIENT | settings | {"error_cb": errors})
    except KafkaException as failure:
        raise SettingsError(refused_property(one_line(failure.args[0]), kafka)) from None


class Client(Protocol):
    """What an admin client and a consumer have in common: polling serves their callbacks."""

    def poll(self, timeout: float = ...) -> object: ...
    def list_topics(self, *, timeout: float) -> Any: ...


def ask(client: Client, errors: Errors, question: Callable[[], Answer]) -> Answer:
    """The cluster's answer; asks again while there is no leader. Raises ClusterError where there is no answer."""
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while True:
        try:
            return question()
        except KafkaException as failure:
            error = failure.args[0]
        if error.code() not in NO_LEADER or time.monotonic() > deadline:
            break
        time.sleep(PAUSE_S)
    if refused := refusal(error):
        raise ClusterError(f"Kafka at {errors.servers} {refused}")
    if error.code() not in UNREACHABLE:
        raise ClusterError(f"Kafka refused: {one_line(error)}")
    client.poll(0)
    raise ClusterError(errors.line())


def look(client: Client, errors: Errors) -> Any:
    """The cluster's metadata. Raises ClusterError, at once where Kafka does not let us in."""
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while True:
        try:
            return client.list_topics(timeout=LOOK_S)
        except KafkaException:
            client.poll(0)
            if errors.refused or time.monotonic() > deadline:
                raise ClusterError(errors.line()) from None


def begin_at(consumer: Consumer, places: list[TopicPartition], at_ms: int) -> None:
    """Moves each place to its first record with a timestamp of then or later; it stays where there is none."""
    asked = [TopicPartition(p.topic, p.partition, max(at_ms, 0)) for p in places]  # below 0 is no time to Kafka
    answers = consumer.offsets_for_times(asked, timeout=ANSWER_WITHIN_S)
    found = {(p.topic, p.partition): p.offset for p in answers}
    for place in places:
        if (offset := found[place.topic, place.partition]) >= 0:
            place.offset = offset


def refuse_lost(message: Message) -> None:
    """Raises ClusterError where what came in place of a record is an error that waiting does not mend."""
    error = message.error()
    if error is not None and (error.fatal() or error.code() in LOST):
        raise ClusterError(f"reading {message.topic()} failed: {error.str()}")


def one_line(failure: KafkaError | Exception) -> str:
    """What an error of librdkafka's, or an exception, says."""
    told: Any = failure.args[0] if isinstance(failure, Exception) and failure.args else failure
    return " ".join(str(told.str() if isinstance(told, KafkaError) else told).split())
