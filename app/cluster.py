"""Reaching the Kafka cluster from the command line: the client's settings, and one clear line where it does not answer.

For tools that a person runs (topics, tail). The receiver has its own producer in app/publish.py.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

ANSWER_WITHIN_S: Final = 8.0
#: How long until a broker that is not there counts as such, and librdkafka's own lines kept off the terminal.
CLIENT: Final = {"socket.connection.setup.timeout.ms": "5000", "log_level": "0"}

Answer = TypeVar("Answer")


class ClusterError(Exception):
    """Kafka can't do what was asked; the text is one line that says why."""


class Errors:
    """librdkafka's `error_cb`: keeps the error that explains best why nothing answers."""

    def __init__(self) -> None:
        self.reason = ""

    def __call__(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL) or not self.reason:
            self.reason = _one_line(error)


def client_settings(kafka: Mapping[str, str], errors: Errors) -> dict[str, Any]:
    """The settings of an admin client or a consumer for this cluster."""
    return CLIENT | dict(kafka) | {"error_cb": errors}


def ask(kafka: Mapping[str, str], errors: Errors, question: Callable[[], Answer]) -> Answer:
    """The cluster's answer; raises ClusterError in one line where there is none."""
    try:
        return question()
    except KafkaException as failure:
        error = failure.args[0]
        unreachable = error.code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN)
        if not unreachable:
            raise ClusterError(f"Kafka refused: {_one_line(error)}") from None
        because = f" ({errors.reason})" if errors.reason else ""
        raise ClusterError(f"no answer from Kafka at {kafka['bootstrap.servers']}{because}") from None


def _one_line(error: KafkaError) -> str:
    return " ".join(str(error.str()).split())
