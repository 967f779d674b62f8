"""Topics on a real Kafka: made once, mended where that loses nothing, everything else said in one line."""

from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from app.cluster import ClusterError, Errors, ask, look, one_line
from app.topics import Cluster, Difference, _config_differences, _described, _made, check_topics, create_topics
from schemas.refusals import NOT_PERMITTED
from schemas.settings import Settings, read_settings
from schemas.topics import TOPICS, changelog_name, topic_name
from tests.patience import eventually

pytestmark = pytest.mark.broker

Configured = Callable[..., Settings]


@pytest.fixture
def configured(kafka: Any, prefix: str) -> Configured:
    def settings(**given: str) -> Settings:
        environ = {f"PHONON_{name.upper()}": value for name, value in given.items()}
        return read_settings(
            {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PHONON_TOPIC_PREFIX": prefix} | environ
        )

    return settings


def make(settings: Settings, record: str, *, partitions: int = 8, config: dict[str, str]) -> str:
    """A topic that somebody else made."""
    name = topic_name(settings.topic_prefix, record)
    admin = AdminClient({"bootstrap.servers": settings.kafka["bootstrap.servers"]})
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result()
    return name


def test_topics_are_made_once_and_then_as_needed(configured: Configured) -> None:
    settings = configured(topic_partitions="3")
    names = [topic_name(settings.topic_prefix, topic.record) for topic in TOPICS]
    missing = [Difference(name, "topic", "present", "missing") for name in names]
    assert check_topics(settings) == missing
    assert create_topics(settings) == missing
    assert check_topics(settings) == []
    assert create_topics(settings) == []


def test_another_partition_count_is_an_error_and_changes_nothing(configured: Configured) -> None:
    create_topics(configured(topic_partitions="3"))
    settings = configured(topic_partitions="4")
    with pytest.raises(ClusterError, match=r"call-leg\.v1: partitions is 3, needed 4") as failure:
        create_topics(settings)
    assert "\n" not in str(failure.value)
    assert {(d.what, d.needed, d.found) for d in check_topics(settings)} == {("partitions", "4", "3")}
    assert len(check_topics(settings)) == len(TOPICS)


def test_too_few_replicas_are_an_error(configured: Configured) -> None:
    create_topics(configured())
    with pytest.raises(ClusterError, match="replication is 1, needed 3"):
        create_topics(configured(topic_replication="3"))


def test_what_a_cluster_cant_give_is_said_in_one_line(configured: Configured) -> None:
    with pytest.raises(ClusterError, match=r"Kafka refused: .*[Rr]eplication factor") as failure:
        create_topics(configured(topic_replication="3"))
    assert "\n" not in str(failure.value)


def test_settings_of_a_topic_that_was_there_are_brought_to_what_is_needed(configured: Configured) -> None:
    settings = configured()
    name = make(settings, "DidMetrics", config={"cleanup.policy": "delete", "max.message.bytes": "1000"})
    mended = {(d.topic, d.what) for d in create_topics(settings)}
    assert mended >= {(name, "cleanup.policy"), (name, "max.message.bytes")}
    assert check_topics(settings) == []


def test_the_topic_of_the_workers_state_is_looked_at_where_it_is(configured: Configured) -> None:
    """Cleaned as events are, it would lose the state in time; the count of the others is its count."""
    settings = configured(topic_partitions="3")
    name = changelog_name(settings.topic_prefix)
    admin = AdminClient({"bootstrap.servers": settings.kafka["bootstrap.servers"]})
    admin.create_topics([NewTopic(name, 3, 1, config={"cleanup.policy": "delete"})])[name].result()
    assert Difference(name, "cleanup.policy", "compact", "delete") in create_topics(settings)
    assert check_topics(settings) == []
    admin.create_partitions([NewPartitions(name, 4)])[name].result()
    eventually(lambda: bool(check_topics(settings)), 8)  # until the broker has heard of its own work
    with pytest.raises(ClusterError, match=r"changelog: partitions is 4, needed 3"):
        create_topics(settings)


def test_limits_above_what_is_needed_are_left_alone(configured: Configured) -> None:
    settings = configured()
    generous = {"retention.ms": "-1", "max.message.bytes": "99000000", "cleanup.policy": "delete"}
    name = make(settings, "Flow", config=generous)
    assert name not in {d.topic for d in create_topics(settings)}
    assert check_topics(settings) == []


def answered(code: int) -> Future[Any]:
    """Kafka's answer to who asked for something."""
    future: Future[Any] = Future()
    future.set_exception(KafkaException(KafkaError(code)))
    return future


def test_a_topic_is_made_by_whoever_was_first_and_its_settings_may_be_refused() -> None:
    assert _made(answered(KafkaError.TOPIC_ALREADY_EXISTS))
    assert not _made(answered(KafkaError.INVALID_CONFIG))
    assert not _made(answered(KafkaError.POLICY_VIOLATION))
    with pytest.raises(KafkaException):
        _made(answered(KafkaError.TOPIC_AUTHORIZATION_FAILED))


def test_what_a_topic_has_not_set_is_a_difference() -> None:
    (found,) = _config_differences("t", {"cleanup.policy": "compact", "retention.ms": "5"}, {"retention.ms": "6"})
    assert str(found) == "t: cleanup.policy is not set, needed compact"


def test_a_topic_that_the_asked_broker_has_not_heard_of_yet_is_still_missing() -> None:
    """In a cluster of three, one broker may name a topic that the next one has not heard of."""
    assert _described(answered(KafkaError.UNKNOWN_TOPIC_OR_PART)) is None
    with pytest.raises(KafkaException):
        _described(answered(KafkaError.TOPIC_AUTHORIZATION_FAILED))


def test_a_partition_without_a_leader_is_a_difference() -> None:
    partitions = {number: SimpleNamespace(leader=leader, replicas=[1]) for number, leader in enumerate((1, -1, 1))}
    cluster = cast(Cluster, SimpleNamespace(_settings=read_settings({"PHONON_TOPIC_PARTITIONS": "3"})))
    (found,) = Cluster._counts(cluster, "phonon.flow.v1", partitions)
    assert str(found) == "phonon.flow.v1: the leader of partition 1 is none, needed a broker"


def test_a_cluster_that_answered_before_is_not_told_to_look_at_its_settings() -> None:
    """A broker that hangs, a network that drops packets: only silence, which at a start is a wrong protocol's."""
    errors = Errors("b:1")
    assert errors.line() == "no answer from Kafka at b:1 (is KAFKA_SECURITY_PROTOCOL right?)"
    errors(KafkaError(KafkaError._TRANSPORT, "Connection refused"))
    assert errors.line() == "no answer from Kafka at b:1 (Connection refused)"
    errors.well()
    assert errors.line() == "no answer from Kafka at b:1 (it did before: it hangs, or the network is cut)"


class Slow:
    """A client whose Kafka answers the third question; before that it tells what is in the way."""

    def __init__(self, errors: Errors, told: int) -> None:
        self.errors, self.told, self.asked = errors, told, 0

    def list_topics(self, *, timeout: float) -> str:
        self.asked += 1
        if self.asked < 3:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return "the metadata"

    def poll(self, timeout: float = 0) -> None:
        self.errors(KafkaError(self.told, "told"))


def test_a_kafka_that_answers_late_is_waited_for_and_one_that_refuses_us_is_not() -> None:
    errors = Errors("b:1")
    assert look(Slow(errors, KafkaError._TRANSPORT), errors) == "the metadata"
    refused = Slow(errors, KafkaError._AUTHENTICATION)
    with pytest.raises(ClusterError, match=r"^Kafka at b:1 refuses KAFKA_SASL_USERNAME"):
        look(refused, errors)
    assert refused.asked == 1


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (KafkaError(KafkaError.INVALID_CONFIG, "no\n  such thing"), "no such thing"),
        (KafkaException(KafkaError(KafkaError.INVALID_CONFIG, "no\n  such thing")), "no such thing"),
        (RuntimeError("the client\nis closed"), "the client is closed"),
        (RuntimeError(), ""),
    ],
    ids=repr,
)
def test_what_librdkafka_says_is_one_line(failure: KafkaError | Exception, said: str) -> None:
    assert one_line(failure) == said


def test_a_partition_without_a_leader_is_asked_again_and_others_are_not() -> None:
    """A topic that was made just now: brokers hear of it one after the other."""
    answers: list[Any] = [
        KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION),
        KafkaError(KafkaError.LEADER_NOT_AVAILABLE),
        7,
    ]

    def question() -> int:
        answer = answers.pop(0)
        if isinstance(answer, KafkaError):
            raise KafkaException(answer)
        return int(answer)

    client: Any = None
    assert ask(client, Errors("b:1"), question) == 7
    answers += [KafkaError(KafkaError.INVALID_CONFIG), 7]
    with pytest.raises(ClusterError, match=r"^Kafka refused: "):
        ask(client, Errors("b:1"), question)
    assert answers == [7]
    answers[0] = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(ClusterError, match=rf"^Kafka at b:1 {NOT_PERMITTED}$"):
        ask(client, Errors("b:1"), question)
