"""Records to Kafka: `publish` returns after every acknowledgement, or raises; nothing in between.

Only this module and app/producer.py touch the receiver's producer. Its rules:
- One countdown object per delivery is the delivery callback of all its records and resolves one future: a future per
  event costs twice as much. The loop polls every millisecond, only while something is pending.
- Kafka is healthy until an acknowledgement is `stall_after` late (twice that while others come in): only that age shows
  a killed broker and a hung one alike. Then every live delivery that waits is given back at once, to be spooled, and
  what comes is given back without trying.
- It is healthy again only when one delivery, live and alone, or spooled, was acknowledged soon enough. That Kafka
  answers questions proves nothing about producing; it is enough only where nothing was late.
- What was spooled waits as long as Kafka takes: one that stays too slow for live deliveries still gets all of them.
- "Not acknowledged" does not mean "not stored": event ids make a second sending harmless.
- Only an acknowledgement with an offset counts. librdkafka also reports a record as delivered once a *later* request
  of its partition is acknowledged, though Kafka may have refused the record's own: from a producer that it does not
  know yet Kafka takes whichever request comes first, so the second if it refused the first while a broker came back.
- A producer that met a fatal error never publishes again, and only poll and produce say so: it is replaced. So is one
  that has forgotten all brokers, or has had no answer for long.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

from app.kafka_errors import REPLACED_AFTER_SECONDS, refusal
from app.outcomes import State, Unacknowledged, Unpublishable
from app.producer import QUEUE_MESSAGES, KafkaProducer
from app.records import Record
from schemas.topics import OF_WORKERS, topics_by_name

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.001
IDLE_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 0.25
#: The pause before a producer replaces one that met a fatal error: the new one may meet the same.
REOPEN_SECONDS: Final = 2.0
METADATA_SECONDS: Final = 1.0
REFUSED_SECONDS: Final = 5.0
START_SECONDS: Final = 3.0
#: How long a Kafka that was too slow must be quicker than it need be.
CALM_SECONDS: Final = 10.0
#: A delivery of more records is produced in slices, so that it neither fills the queue nor holds up the loop.
SLICE_RECORDS: Final = 2_000
#: What a record's key, headers and framing take of the limit at most.
HEADERS_BYTES: Final = 16 * 1024
#: A record that Kafka will never take, however often it is sent.
PERMANENT: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.INVALID_MSG})
#: Errors of one connection: they say more than that all brokers are down.
CONNECTIONS: Final = frozenset({KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT})
#: Reported as delivered, and Kafka never said so.
NO_OFFSET: Final = KafkaError(KafkaError._NO_OFFSET)
NO_DIGITS: Final = str.maketrans("", "", "0123456789")


def needed_topics(prefix: str, *, raw: bool = False) -> frozenset[str]:
    """The topics that the receiver writes, the raw one among them or not."""
    return frozenset(name for name, topic in topics_by_name(prefix, raw=raw).items() if topic.record not in OF_WORKERS)


def lagging(topics: Mapping[str, Any]) -> str:
    """Which of these (confluent_kafka's TopicMetadata) has no leader, or replicas that are behind; or nothing.

    Brokers then answer, but acknowledge nothing where there is no leader, or too few replicas are left.
    """
    parts = [(name, number, one) for name, topic in topics.items() for number, one in topic.partitions.items()]
    if led_by_none := sorted((name, number) for name, number, one in parts if one.leader < 0):
        name, number = led_by_none[0]
        more = f" (and {len(led_by_none) - 1} more)" if led_by_none[1:] else ""
        return f"; partition {number} of {name} has no leader{more}"
    behind = sorted({name for name, _, one in parts if len(one.isrs) < len(one.replicas)})
    more = f" and {len(behind) - 1} more" if behind[1:] else ""
    return f"; replicas of {behind[0]}{more} are out of sync: too few for min.insync.replicas?" if behind else ""


class Countdown:
    """One delivery on its way: counts its acknowledgements down, then resolves one future."""

    __slots__ = ("error", "future", "left", "publisher", "since")

    def __init__(self, publisher: "Publisher", left: int, since: float) -> None:
        self.publisher = publisher
        self.left = left
        self.since = since
        self.error: Any = None
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __call__(self, error: Any, message: Any) -> None:
        """The delivery callback: must neither raise nor poll."""
        self.left -= 1
        if error is not None:
            self.error = error
        elif message.offset() is None:
            self.error = NO_OFFSET
        if not self.left:
            self.publisher.settle(self)


class Publisher:
    """Publishes deliveries and knows whether that makes sense at the moment. Belongs to one event loop."""

    def __init__(
        self,
        opened: Callable[[Mapping[str, Any]], KafkaProducer],
        *,
        topics: frozenset[str],
        stall_after: float,
        most_bytes: int = 2**31,
        before: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = State.DOWN
        self.reason = "not asked yet"
        self._opened = opened
        self._topics = topics
        self._stall_after = stall_after
        self._most_bytes = most_bytes - HEADERS_BYTES
        self._before = before  # what must be done before anything is published: says what is in the way, may block
        self._said: set[str] = set()
        self._refused = "", 0.0  # why Kafka does not let us in, and when it last said so
        self._broken = ""  # what became of a connection since the last acknowledgement
        self._lagging = ""  # replicas that are behind, when it was last asked
        self._clock = clock
        self._seen = self._last = self._acknowledged_at = clock()
        self._fell_at = self._seen
        self._waiting: dict[Countdown, None] = {}  # oldest first: what the stall clock watches
        self._drained: dict[Countdown, None] = {}
        self._was_late = False
        self._unanswered_since = clock()
        self._fatal = False
        self._down = asyncio.Event()
        self._asked = asyncio.Event()
        self._producer = self._open()
        self._timer: asyncio.TimerHandle | None = None
        self._recovery: asyncio.Task[None] | None = None

    @property
    def statistics(self) -> tuple[int, int, int]:
        """What waits in the producer: messages, bytes; and brokers connected. A second old."""
        return self._producer.statistics()

    @property
    def healthy(self) -> bool:
        """Whether deliveries go to Kafka."""
        return self.state is State.HEALTHY

    async def start(self) -> None:
        """Ask Kafka for its topics; returns when it answered, or soon after it should have."""
        self._down.set()
        self._recovery = asyncio.create_task(self._recover())
        self._tick()
        try:
            await asyncio.wait_for(self._asked.wait(), START_SECONDS)
        except TimeoutError:
            pass

    async def stop(self) -> None:
        """Give back what still waits, and let librdkafka go."""
        if self._recovery:
            self._recovery.cancel()
        if self._timer:
            self._timer.cancel()
        self._give_back("stopping", self._waiting, self._drained)
        self._producer.purge(in_queue=True, in_flight=False)
        with suppress(KafkaException):  # a fatal error that nobody needs to know of any more
            await asyncio.to_thread(self._producer.flush, 1.0)

    async def publish(self, records: Sequence[Record], *, live: bool = True) -> None:
        """Returns when all records are acknowledged. Raises Unacknowledged or Unpublishable.

        An empty delivery counts as unacknowledged: nobody knows yet how to frame its records.
        `live=False` is for what was spooled: it never counts as late, since nobody waits for it. While Kafka is tried,
        a live delivery goes only if nothing else is on its way.
        """
        if not records:
            raise Unacknowledged(self.reason or "nothing to publish")
        if len(records) <= SLICE_RECORDS:
            await self._send(records, live=live)
            return
        for first in range(0, len(records), SLICE_RECORDS):
            await self._send(records[first : first + SLICE_RECORDS], live=live)

    def _send(self, records: Sequence[Record], *, live: bool) -> asyncio.Future[None]:
        if self.state is State.DOWN or (self.state is State.TRYING and live and (self._waiting or self._drained)):
            raise Unacknowledged(self.reason)
        if len(self._producer) + len(records) > QUEUE_MESSAGES // 2:
            raise Unacknowledged("the producer's queue is full")
        for record in records:
            if len(record.value) > self._most_bytes:
                raise Unpublishable("MSG_SIZE_TOO_LARGE")
        countdown = Countdown(self, len(records), self._advance())
        place = self._waiting if live else self._drained
        try:
            produce = self._producer.of(records[0].key)
            for record in records:
                produce(record.topic, record.value, record.key, headers=record.headers, on_delivery=countdown)
        except (BufferError, KafkaException) as error:
            raise self._refusal(error) from None
        place[countdown] = None
        if self._timer is not None and len(self._waiting) + len(self._drained) == 1:
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        return countdown.future

    def _refusal(self, error: Exception) -> Exception:
        if isinstance(error, BufferError):
            return Unacknowledged("the producer's queue is full")
        refused = error.args[0]
        if refused.code() in PERMANENT:
            return Unpublishable(refused.name())
        self._fatal |= refused.code() == KafkaError._FATAL
        self.fall(self._why(refused), late=True)
        return Unacknowledged(self.reason)

    def settle(self, countdown: Countdown) -> None:
        """All callbacks of a delivery came in: tell who waits for it, and learn from it."""
        self._waiting.pop(countdown, None)
        self._drained.pop(countdown, None)
        if countdown.future.done():
            return
        if countdown.error is None:
            countdown.future.set_result(None)
            self._acknowledged_at, self._broken = self._seen, ""
            if self.state is State.TRYING and self._is_quick(self._seen - countdown.since):
                self._rise()
        elif countdown.error.code() in PERMANENT:
            countdown.future.set_exception(Unpublishable(countdown.error.name()))
        else:
            countdown.future.set_exception(Unacknowledged(countdown.error.name()))
            if countdown.error.code() != KafkaError._PURGE_QUEUE:  # that was `fall`
                self.fall(self._why(countdown.error) + self._lagging, late=True)

    def fall(self, reason: str, *, late: bool) -> None:
        """Kafka is not healthy. `late`: an acknowledgement failed, so that only an acknowledgement proves recovery."""
        late = late or bool(self._waiting)
        self._was_late |= late
        was, self.state = self.state, State.DOWN
        if was is State.HEALTHY:
            self._fell_at = self._seen
        if was is not State.DOWN:
            self._tell("kafka is down: %s", reason)
            self._unanswered_since = self._clock()
            self._down.set()
        self.reason = reason
        if late:
            self._give_back(reason, self._waiting)
        if late and was is State.HEALTHY:
            self._producer.purge(in_queue=True, in_flight=False)

    def on_error(self, error: Any) -> None:
        """librdkafka's error callback: comes at once when connections break, and says why they can't be made."""
        refused, why = refusal(error), self._why(error)
        if refused:
            self._refused = why, self._clock()
        elif error.code() in CONNECTIONS:
            self._broken = str(error.str()).partition(" (after ")[0]
        if refused or error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.fall(why, late=False)

    def _why(self, error: Any) -> str:
        """What Kafka refuses, now or lately, else that it is away and what librdkafka says of that."""
        if refused := refusal(error):
            return f"Kafka {refused}"
        reason, at = self._refused
        if reason and self._clock() - at < REFUSED_SECONDS:
            return reason
        return f"no answer ({self._broken or error.name()})"

    def _rise(self) -> None:
        log.info("kafka is healthy")
        self._said.clear()
        self.state, self.reason, self._broken, self._lagging = State.HEALTHY, "", "", ""
        self._was_late = False

    def _is_quick(self, age: float) -> bool:
        """Whether an acknowledgement of that age shows a healthy Kafka; just after it was not, one of half that age.

        Deliveries are slower together than alone: what is just quick enough alone would soon end in the next outage.
        """
        just_fell = self._seen - self._fell_at < CALM_SECONDS
        return age <= (self._stall_after / 2 if just_fell else self._stall_after)

    def _give_back(self, reason: str, *places: dict[Countdown, None]) -> None:
        for place in places:
            for countdown in place:
                if not countdown.future.done():
                    countdown.future.set_exception(Unacknowledged(reason))
            place.clear()

    def _advance(self) -> float:
        """A clock that stands still while this process does: a pause of ours is not a delay of Kafka's."""
        now = self._clock()
        self._seen += min(now - self._last, IDLE_SECONDS * 2)
        self._last = now
        return self._seen

    def _tick(self) -> None:
        try:
            self._poll()
            now = self._advance()
            oldest = next(iter(self._waiting), None)
            if oldest is not None and self._is_late(now - oldest.since, now - self._acknowledged_at):
                if self.state is State.TRYING and self._drained:  # which show better how Kafka is
                    self._give_back(self.reason, self._waiting)
                else:
                    self.fall(f"no acknowledgement within {now - oldest.since:.1f} s{self._lagging}", late=True)
        finally:  # whatever went wrong once, acknowledgements are looked for again
            delay = TICK_SECONDS if self._waiting or self._drained else IDLE_SECONDS
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _poll(self) -> None:
        try:
            self._producer.poll(0)
        except KafkaException as failure:  # a fatal error comes this way, once, and to no callback
            self._fatal = True
            self.fall(self._why(failure.args[0]), late=True)

    def _is_late(self, age: float, quiet: float) -> bool:
        """Whether Kafka is: with others being acknowledged meanwhile it is busy, and has twice as long."""
        return age > self._stall_after and (quiet > self._stall_after / 2 or age > 2 * self._stall_after)

    async def _recover(self) -> None:
        """While Kafka is down, ask it for its topics; when it has them all, let deliveries try."""
        while True:
            await self._down.wait()
            try:
                if self._fatal:
                    await asyncio.sleep(REOPEN_SECONDS)
                if self._fatal or self._producer.lost() or self._unanswered() > REPLACED_AFTER_SECONDS:
                    self._give_back(self.reason, self._waiting, self._drained)  # the one that goes tells no more of it
                    self._producer, self._fatal = self._open(), False
                    self._unanswered_since = self._clock()
                problem = await asyncio.to_thread(self._ask)
            except Exception as error:  # noqa: BLE001 - nobody else would ever ask again
                problem = f"the question failed ({type(error).__name__})"
            self._asked.set()
            if problem:
                self._say(problem)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._down.clear()
            if self._was_late:
                self.state = State.TRYING
            else:
                self._rise()

    def _unanswered(self) -> float:
        return self._clock() - self._unanswered_since

    def _say(self, problem: str) -> None:
        """Note what is in the way of publishing."""
        self._tell("not publishing: %s", problem)
        self.reason = problem

    def _tell(self, text: str, problem: str) -> None:
        """Each problem is logged once, until Kafka is healthy again; readiness always shows the present one."""
        kind = problem.translate(NO_DIGITS)  # other numbers of requests, brokers and ports are no other problem
        if kind not in self._said:
            log.warning(text, problem)
            self._said.add(kind)

    def _ask(self) -> str:
        """What is in the way of publishing, or nothing; blocks."""
        problem = self._before()
        if problem:
            self._unanswered_since = self._clock()  # Kafka was not asked
            return problem
        try:
            found = self._producer.list_topics(timeout=METADATA_SECONDS).topics
        except KafkaException as error:
            return self._why(error.args[0])
        self._unanswered_since = self._clock()
        missing = sorted(topic for topic in self._topics if topic not in found or found[topic].error is not None)
        if missing:
            return f"topic {', '.join(missing)} is missing: phonon-events topics create"
        self._lagging = lagging({topic: found[topic] for topic in self._topics})
        return ""

    def _open(self) -> KafkaProducer:
        return self._opened({"error_cb": self.on_error})
