"""Metrics of DIDs and groups, and alerts, read in a thread from their topics' beginning. Nothing is committed.

Of the metrics only the newest record of a key is decoded: while the topic's past is read, that is one of hundreds. A
missing topic of alerts is no trouble: then there are none. Whether Kafka is there is asked, not guessed: every
PROBE_SECONDS a question that only a broker can answer. While it is away the page says since when, and now and then
another consumer takes the place of the one that hears nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from app.cluster import ONLOOKER, ClusterError, Errors, connect, one_line
from app.dashboard.alerts import Alert, read_alert
from app.dashboard.figures import Latest, latest
from schemas import Undecodable, UnknownId, without_registry
from schemas.refusals import NOT_PERMITTED
from schemas.registry import Registry, RegistryError
from schemas.settings import Settings, SettingsError
from schemas.topics import topic_name

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.25
BATCH: Final = 2000
PROBE_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 1.5
RETRY_SECONDS: Final = 2.0
#: The longest time for which a topic's past is held back to show it at once.
LOADING_SECONDS: Final = 20.0
GROUP: Final = "phonon-events-dashboard"

#: A DID's metrics replace each other; each alert stands for itself, under its partition and offset.
Key = bytes | str | None | tuple[int | None, int | None]
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Link:
    """How the link to Kafka is: connecting, connected, away or no_topic; why, in one line; since when, ms.

    `registry` says what is wrong with the schema registry, where that keeps records from being read.
    """

    state: str = "connecting"
    reason: str = ""
    since: int = 0
    registry: str = ""
    loaded: bool = False
    unreadable: int = 0


class Batch(NamedTuple):
    """The newest records of some DIDs, the keys that a tombstone removed, and alerts."""

    records: Sequence[Latest] = ()
    gone: Sequence[str] = ()
    alerts: Sequence[Alert] = ()


class Source:
    """The thread. `deliver` and `say` are called in it with what was read and how the link is."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry | None,
        deliver: Callable[[Batch], None],
        say: Callable[[Link], None],
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._resolve = registry.resolve if registry else without_registry
        self._topic = topic_name(settings.topic_prefix, "DidMetrics")
        self._alerts = topic_name(settings.topic_prefix, "DidAlert")
        self._groups = topic_name(settings.topic_prefix, "GroupMetrics")
        self._deliver, self._say = deliver, say
        self._link = Link(since=_now_ms())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End; waits for a question that is under way."""
        self._stop.set()
        self._thread.join(ANSWER_SECONDS + 3 * POLL_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except (ClusterError, KafkaException, SettingsError) as failure:
                self._now(state="away", reason=one_line(failure))
            except Exception as error:  # nobody else would say so, or read on
                log.exception("the topics can't be read")
                self._now(state="away", reason=f"our code fails ({type(error).__name__})")
            self._stop.wait(RETRY_SECONDS)

    def _follow(self) -> None:
        """Read until stopped, until the topic is no longer as it was, or nobody answers this consumer any more."""
        errors = Errors(self._settings.kafka["bootstrap.servers"])
        consumer = connect(Consumer, self._settings.kafka, errors, group_id=GROUP, **ONLOOKER)
        try:
            partitions = self._partitions(consumer, errors)
            if partitions:
                consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in partitions])
                self._read(consumer, errors, partitions)
        finally:
            consumer.close()

    def _partitions(self, consumer: Consumer, errors: Errors) -> set[Place]:
        """The partitions there are now, and so whether Kafka answers; none where it is away or there are no metrics."""
        try:
            found, groups, alerts = (
                consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
                for topic in (self._topic, self._groups, self._alerts)
            )
        except KafkaException as failure:
            consumer.poll(0)
            self._now(state="away", reason=errors.reason or one_line(failure))
            return set()
        errors.well()
        if found.error is not None:
            self._now(state="no_topic", reason=f"there is no topic {self._topic}")
            return set()
        self._now(state="connected", reason="")
        return {(topic.topic, number) for topic in (found, groups, alerts) for number in topic.partitions}

    def _read(self, consumer: Consumer, errors: Errors, partitions: set[Place]) -> None:
        newest: dict[Key, Message] = {}
        ends: set[Place] = set()
        begun = probed = time.monotonic()
        loaded = False
        while not self._stop.is_set():
            for message in consumer.consume(BATCH, POLL_SECONDS):
                error = message.error()
                if error is None:
                    of_alerts = message.topic() == self._alerts
                    newest[(message.partition(), message.offset()) if of_alerts else message.key()] = message
                elif error.code() == KafkaError._PARTITION_EOF:
                    ends.add((message.topic() or "", message.partition() or 0))
                elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:  # a refused group hinders nothing
                    raise ClusterError(f"Kafka {NOT_PERMITTED}")
                elif error.fatal():
                    raise KafkaException(error)
            now = time.monotonic()
            if loaded or ends >= partitions or now - begun > LOADING_SECONDS:
                self._flush(newest)
                self._now(loaded=True)
                loaded = True
            if now - probed >= PROBE_SECONDS:
                found = self._partitions(consumer, errors)
                if errors.long_silent or (found and found != partitions):
                    return
                probed = time.monotonic()

    def _flush(self, newest: dict[Key, Message]) -> None:
        """Deliver what was read; what a registry has not explained yet stays for the next time."""
        records, gone, alerts = list[Latest](), list[str](), list[Alert]()
        waiting, unknown = dict[Key, Message](), set[int]()
        for key, message in newest.items():
            value: Any = message.value()
            if value is None and not isinstance(key, tuple):
                gone.append(key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key))
                continue
            try:
                if isinstance(key, tuple):
                    alerts.append(read_alert(value, self._resolve))
                else:
                    group = message.topic() == self._groups
                    records.append(latest(value, message.timestamp()[1], self._resolve, group=group))
            except UnknownId as one:
                waiting[key] = message
                unknown.add(one.id)
            except Undecodable as reason:
                self._now(unreadable=self._link.unreadable + 1)
                log.warning("a record can't be read: %s", reason)
        newest.clear()
        newest.update(waiting)
        if records or gone or alerts:
            self._deliver(Batch(records, gone, alerts))
        if unknown and self._learn(unknown):
            self._flush(newest)

    def _learn(self, ids: set[int]) -> bool:
        """Ask the registry, which may take a while; whether it has answered."""
        if self._registry is None:
            return False
        try:
            self._registry.learn(ids)
        except RegistryError as problem:
            self._now(registry=str(problem))
            return False
        self._now(registry="")
        return True

    def _now(self, **known: Any) -> None:
        """Say how the link is, if that is news."""
        link = replace(self._link, **known)
        if link != self._link:
            if link.state != self._link.state:
                link = replace(link, since=_now_ms())
                log.info("kafka", extra={"fields": {"state": link.state, "reason": link.reason}})
            self._link = link
            self._say(link)


def _now_ms() -> int:
    return round(time.time() * 1000)
