"""The alerts topic, read in a thread as a consumer group: its offsets are committed here, as far as all is settled.

The first time the group begins at the topic's end, and commits that at once: a process that is killed before its first
alert is settled must find its place again. Callbacks of the consumer only note what happened: an exception in one
silences the client. A record that a schema registry can't explain at present makes its partition wait. A partition
that is taken away is forgotten with all that waits of it; its next owner goes on from the commit.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from app.cluster import Errors, connect, one_line
from app.notify import measures
from app.notify.notification import Notification, read
from app.notify.progress import Arrived, Progress, mark, metadata, read_floors
from schemas import Undecodable, UnknownId, without_registry
from schemas.registry import Registry, RegistryError
from schemas.settings import Settings
from schemas.topics import topic_name

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.25
BATCH: Final = 500
PROBE_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 2.0
STOP_SECONDS: Final = 0.7
#: So many messages are read ahead of the address that is farthest.
MOST_AHEAD: Final = 1_000
CONSUMER: Final = {
    "enable_auto_commit": "false",
    "enable_auto_offset_store": "false",
    "isolation_level": "read_committed",
    "auto_offset_reset": "earliest",  # the committed place is gone: its topic was made anew, or cut off there
    "session_timeout_ms": "6000",
    "heartbeat_interval_ms": "2000",
    "topic_metadata_refresh_interval_ms": "10000",
}


Kept = Callable[[KafkaError | None, list[TopicPartition]], None]


def make_consumer(settings: Settings, errors: Errors, kept: Kept = lambda _error, _places: None) -> Consumer:
    """A consumer of the group that all processes of these settings share; `kept` hears how its commits end.

    Raises SettingsError.
    """

    def made(properties: dict[str, Any]) -> Consumer:
        return Consumer({**properties, "on_commit": kept})

    return connect(made, settings.kafka, errors, group_id=f"{settings.topic_prefix}-notify", **CONSUMER)


class Source:
    """The thread. `begin` is called in it when all that was delivered before is void, `deliver` with what was read."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry | None,
        begin: Callable[[], None],
        deliver: Callable[[Sequence[Arrived]], None],
    ) -> None:
        self.trouble = "not connected yet"
        self.failure: Exception | None = None
        self._settings, self._registry = settings, registry
        self._resolve = registry.resolve if registry else without_registry
        self._topic = topic_name(settings.topic_prefix, "DidAlert")
        self._marks = tuple(map(mark, settings.alert_webhook_url))
        self._begin, self._deliver = begin, deliver
        self._held: dict[int, Progress] = {}
        self._committed: dict[int, tuple[int, ...]] = {}
        self._settled: SimpleQueue[tuple[Progress, int, int]] = SimpleQueue()
        self._given: list[TopicPartition] | None = None  # partitions that we were given and do not read yet
        self._joined = self._paused = False
        self._unexplained = ""  # what the registry can't say
        self._refused = ""  # why the group, or the topic, is not for us
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what is settled, and end; a Kafka that is away is not waited for."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)

    def settle(self, arrived: Arrived, address: int) -> None:
        """An address has this message, or will never have it. From any thread."""
        self._settled.put((arrived.progress, address, arrived.offset))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except KafkaException as failure:
                self._say(one_line(failure))
            except Exception as failure:  # noqa: BLE001 - whoever waits for us must know that we are gone
                self.failure = failure
                return
            self._stop.wait(RETRY_SECONDS)

    def _follow(self) -> None:
        """Read until stopped, until something fails, or nobody answers this consumer any more."""
        errors = Errors(self._settings.kafka["bootstrap.servers"])
        consumer = make_consumer(self._settings, errors, self._kept)
        try:
            consumer.subscribe(
                [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=lambda *_: self._forget()
            )
            probed = float("-inf")
            while not self._stop.is_set():
                if time.monotonic() - probed >= PROBE_SECONDS:
                    self._probe(consumer, errors)
                    if errors.long_silent:
                        break
                    probed = time.monotonic()
                self._take(consumer, consumer.consume(BATCH, POLL_SECONDS))
                self._place(consumer)
                self._commit(consumer)
                self._pace(consumer)
        finally:
            if not errors.long_silent:  # else either would be waited for until Kafka answers: it is only let go
                self._commit(consumer, waits=True)
                consumer.close()
            self._forget()

    def _probe(self, consumer: Consumer, errors: Errors) -> None:
        """Ask whether Kafka and the topic are there, which only a broker can answer."""
        try:
            found = consumer.list_topics(self._topic, timeout=ANSWER_SECONDS).topics[self._topic]
        except KafkaException:
            consumer.poll(0)
            self._say(errors.line())
            return
        errors.well()
        if found.error is not None:
            self._say(f"there is no topic {self._topic}: `phonon-events topics create` makes it")
        else:
            waiting = f"waiting for the group {self._refused}".rstrip()
            self._say(self._unexplained or ("" if self._joined else waiting))

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            log.info("alerts", extra={"fields": {"state": trouble or "reading"}})

    def _assigned(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        consumer.assign([])
        self._given = places

    def _place(self, consumer: Consumer) -> None:
        """Begin to read the partitions that we were given; at the next pass, where Kafka can't say yet from where."""
        if self._given is None:
            return
        try:
            self._read_from(consumer, self._given)
        except KafkaException as failure:
            self._say(one_line(failure))
        else:
            self._given = None

    def _read_from(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        known, held = self._places(consumer), dict[int, Progress]()
        for place in places:
            low, high = consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS)
            begin = known.get(place.partition)
            floors = (low,) * len(self._marks)
            if begin is not None and begin.offset >= 0:
                kept = read_floors(begin.offset, begin.metadata, self._marks)
                floors = kept if max(kept) <= high else floors  # beyond the end: the topic was made anew
            held[place.partition] = Progress(floors)
            place.offset = min(floors)
        consumer.assign(places)
        consumer.resume(places)  # a pause outlives the assignment that it was made in
        self._held, self._committed = held, {}
        self._joined, self._paused = True, False
        self._begin()
        self._say(self._unexplained)

    def _places(self, consumer: Consumer) -> dict[int, TopicPartition]:
        """What the group has committed of each partition; the ends, and these committed, where it is new."""
        numbers = consumer.list_topics(self._topic, timeout=ANSWER_SECONDS).topics[self._topic].partitions
        places = [TopicPartition(self._topic, number) for number in numbers]
        known = consumer.committed(places, timeout=ANSWER_SECONDS)
        if any(place.offset >= 0 for place in known):
            return {place.partition: place for place in known}
        for place in places:
            place.offset = consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS)[1]
        consumer.commit(offsets=places, asynchronous=False)
        return {place.partition: place for place in places}

    def _revoked(self, consumer: Consumer, _places: list[TopicPartition]) -> None:
        self._commit(consumer, waits=True)
        self._forget()

    def _forget(self) -> None:
        self._held, self._given, self._joined = {}, None, False
        self._begin()

    def _take(self, consumer: Consumer, messages: Sequence[Message]) -> None:
        """Deliver what was read; a partition that waits for the registry is read again from there."""
        arrived, waits, unexplained = [], set[int](), ""
        for message in messages:
            number, offset = message.partition() or 0, message.offset() or 0
            if self._failed(message) or number in waits or number not in self._held:
                continue
            progress = self._held[number]
            if progress.behind(offset):  # what was read and settled of this place was another topic's
                progress = self._held[number] = Progress((offset,) * len(self._marks))
            try:
                notification = self._read(message)
            except RegistryError as problem:
                unexplained = str(problem)
                consumer.seek(TopicPartition(self._topic, number, offset))
                waits.add(number)
            except Undecodable as reason:
                log.warning("a record is no alert: %s", reason)
                measures.UNREADABLE.inc()
                progress.skip(offset)
            else:
                arrived.append(Arrived(notification, progress, offset, progress.take(offset)))
        if arrived:
            self._deliver(arrived)
        if messages and unexplained != self._unexplained:
            self._unexplained = unexplained
            self._say(unexplained)
        if waits:
            self._stop.wait(RETRY_SECONDS)

    def _failed(self, message: Message) -> bool:
        """Whether it is no record but an error, which may say why the group does not let us in. Raises a fatal one."""
        error = message.error()
        if error is None:
            return False
        self._refused = f"({error.str()})"
        if error.fatal():
            raise KafkaException(error)
        return True

    def _read(self, message: Message) -> Notification:
        """The message. Raises Undecodable, or RegistryError where nobody can say at present."""
        value, written_at = message.value(), message.timestamp()[1]
        try:
            return read(value, written_at, self._resolve)
        except UnknownId as one:
            assert self._registry is not None, "only a registry asks"
            self._registry.learn([one.id])
            return read(value, written_at, self._resolve)

    def _commit(self, consumer: Consumer, *, waits: bool = False) -> None:
        """Keep how far all are, where that has changed. What is not kept is tried again, or sent again.

        `waits`: return when it has ended, where there will be no other time; while Kafka hangs, that takes as long.
        """
        self._settle()
        now = {number: progress.floors() for number, progress in self._held.items()}
        places = [
            TopicPartition(self._topic, number, min(floors), metadata(floors, self._marks))
            for number, floors in now.items()
            if self._committed.get(number) != floors
        ]
        if not places:
            return
        self._committed = now
        try:
            if waits:
                consumer.commit(offsets=places, asynchronous=False)
            else:
                consumer.commit(offsets=places)
        except KafkaException as failure:
            self._kept(failure.args[0], places)

    def _kept(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        """How a commit ended. For one that was not waited for, librdkafka calls this."""
        for place in places:
            if failure := error or place.error:
                log.debug("not committed: %s", one_line(failure))
                self._committed.pop(place.partition, None)

    def _settle(self) -> None:
        try:
            while True:
                progress, address, offset = self._settled.get_nowait()
                progress.done(address, offset)
        except Empty:
            pass

    def _pace(self, consumer: Consumer) -> None:
        """Rest while even the address that is farthest has enough; one that is slow holds up no other."""
        held = self._held.values()
        least = min(sum(progress.waiting(address) for progress in held) for address in range(len(self._marks)))
        if self._paused != (least >= MOST_AHEAD):
            self._paused = not self._paused
            (consumer.pause if self._paused else consumer.resume)(consumer.assignment())
