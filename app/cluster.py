"""Reaching the Kafka cluster from the command line: the client's settings, and one clear line where it does not answer.

For tools that a person runs (topics, tail). The receiver has its own producer in app/publish.py.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException

from schemas.settings import SettingsError

ANSWER_WITHIN_S: Final = 8.0
#: How long until a broker that is not there counts as such, and librdkafka's own lines kept off the terminal.
CLIENT: Final = {"socket.connection.setup.timeout.ms": "5000", "log_level": "0"}

PRODUCER_ONLY: Final = (
    "acks",
    "enable.idempotence",
    "partitioner",
    "linger.ms",
    "compression.type",
    "message.timeout.ms",
)

Answer = TypeVar("Answer")
Made = TypeVar("Made")


class ClusterError(Exception):
    """Kafka can't do what was asked; the text is one line that says why."""


class Errors:
    """librdkafka's `error_cb`: keeps the error that explains best why nothing answers."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self.reason = ""

    def __call__(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL) or not self.reason:
            self.reason = _one_line(error)


def connect(kind: Callable[[dict[str, Any]], Made], kafka: Mapping[str, str], errors: Errors, **own: str) -> Made:
    """An admin client or a consumer for this cluster. Raises SettingsError for a property that librdkafka refuses.

    What only a producer knows is left out; `own` are the properties of this use, with _ for dots.
    """
    settings = {name: value for name, value in kafka.items() if name not in PRODUCER_ONLY}
    settings |= {name.replace("_", "."): value for name, value in own.items()}
    try:
        return kind(CLIENT | settings | {"error_cb": errors})
    except KafkaException as refusal:
        raise SettingsError(f"KAFKA_ settings: {_one_line(refusal.args[0])}") from None


class Client(Protocol):
    """What an admin client and a consumer have in common: polling serves their callbacks."""

    def poll(self, timeout: float = ...) -> object: ...


def ask(client: Client, errors: Errors, question: Callable[[], Answer]) -> Answer:
    """The cluster's answer; raises ClusterError in one line where there is none."""
    try:
        return question()
    except KafkaException as failure:
        error = failure.args[0]
        unreachable = error.code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN)
        if not unreachable:
            raise ClusterError(f"Kafka refused: {_one_line(error)}") from None
        client.poll(0)
        because = f" ({errors.reason})" if errors.reason else ""
        raise ClusterError(f"no answer from Kafka at {errors.servers}{because}") from None


def _one_line(error: KafkaError) -> str:
    return " ".join(str(error.str()).split())
