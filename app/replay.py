"""Replay: what topics kept is read again, made into records by the present code, and published.

It is the receiver's own pipeline and publisher, with the received_at of the first time, so that the ids are the same:
who dedupes by them sees nothing new but what is read differently now. Publishing is bounded in rate, and tried again
while Kafka is away; giving up half-way is harmless, since a second run repeats the same ids.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final, Protocol

from confluent_kafka import Message

from app.main import make_publisher
from app.outcomes import Publishes, Unacknowledged, Unpublishable
from app.past import Past
from app.pipeline import Pipeline, make_pipeline
from app.privacy import redact
from app.raw import received
from app.rebuild import CALLERS, NO_FLOW, RECORDINGS, Left, part_of, record_of
from app.records import Record, Records
from schemas import HEADERS, Resolve, Undecodable, decode
from schemas.registry import resolver
from schemas.settings import Settings
from schemas.topics import raw_topic_name, topic_name, topics_by_name

MOST_AT_ONCE: Final = 64
PATIENCE_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 0.2
MAKE_TOPICS: Final = "`phonon-events topics create` makes it"
DELETED: Final = "Kafka deleted it before it was read: faster (--rate), or later ones only (--since)"
MAKE_RAW: Final = f"with PHONON_RAW_TOPIC=true {MAKE_TOPICS}, and receivers fill it"

Group = list[Record]
"""The records of one delivery or part: published together."""


class Publisher(Publishes, Protocol):
    """As much of a publisher as is needed here."""

    reason: str

    @property
    def healthy(self) -> bool:
        """Whether records go to Kafka."""


class ReplayFailed(Exception):  # noqa: N818 - it says what happened
    """Kafka does not take what is published; the text is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which records, by received_at in ms: from `since` on, before `until`; None: no bound."""

    since: int | None = None
    until: int | None = None

    def holds(self, at: int) -> bool:
        """Whether a moment lies in it."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Records read, received at another time, made into something, left by reason; records published by topic."""

    read: int = 0
    elsewhen: int = 0
    made: int = 0
    left: Counter[str] = field(default_factory=Counter)
    published: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """At most `rate` deliveries or parts a second; `dry_run`: publish nothing; `progress` is told (done, total)."""

    rate: float
    dry_run: bool = False
    progress: Callable[[int, int], None] = lambda _done, _total: None


def replay_raw(settings: Settings, span: Span, how: How) -> Outcome:
    """Splits the raw topic's bodies again and publishes what they become. Raises ClusterError or ReplayFailed."""
    outcome, pipeline = Outcome(), _pipeline(settings, how)
    with closing(Past(settings, raw_topic_name(settings.topic_prefix), since_ms=span.since, way_out=MAKE_RAW)) as past:

        def groups() -> Iterator[Group]:
            for message in past:
                outcome.read += 1
                how.progress(outcome.read, past.total)
                yield from _split_again(message, span, pipeline, outcome)
            _tell_deleted(past, outcome)

        asyncio.run(_publish(settings, pipeline, groups(), how, outcome))
    return outcome


def _split_again(message: Message, span: Span, pipeline: Pipeline, outcome: Outcome) -> Iterator[Group]:
    headers: Any = message.headers() or ()
    try:
        row = received(message.value() or b"", headers)
        if not span.holds(row.received_at):
            outcome.elsewhen += 1
            return
        made = pipeline(row)
    except ValueError as error:
        outcome.left[str(error)] += 1
        return
    except Exception as error:  # noqa: BLE001 - a bug of ours must not keep the rest from being replayed
        outcome.left[_fails(error)] += 1
        return
    outcome.made += 1
    yield made.records


def _fails(error: Exception) -> str:
    return f"our code fails on it ({type(error).__name__})"


def _tell_deleted(past: Past, outcome: Outcome) -> None:
    if past.deleted:
        outcome.left[DELETED] += past.deleted


def replay_rejected(settings: Settings, span: Span, how: How) -> Outcome:
    """Publishes what can be read now of the rejected topic. Raises ClusterError or ReplayFailed."""
    outcome, pipeline, resolve = Outcome(), _pipeline(settings, how), resolver(settings)
    parts = list(_rejected(settings, span, how, outcome, resolve))
    flows = _flows(settings, [part for part in parts if _waits_for_flow(part, pipeline)], resolve)

    def groups() -> Iterator[Group]:
        topics = topics_by_name(settings.topic_prefix, raw=True)
        for part in parts:
            try:
                if part["section"] in topics:
                    group = [record_of(part, topics, resolve)]
                else:
                    group = _events(part, flows.get((part["flow_id"], part["received_at"])), pipeline)
            except Left as reason:
                outcome.left[str(reason)] += 1
                continue
            except Exception as error:  # noqa: BLE001 - nor here, whoever wrote to the topic that it was set aside from
                outcome.left[_fails(error)] += 1
                continue
            outcome.made += 1
            yield group

    asyncio.run(_publish(settings, pipeline, groups(), how, outcome))
    return outcome


def _events(part: dict[str, Any], flow: Any, pipeline: Pipeline) -> Group:
    """The records of a part of a delivery. Raises Left."""
    if part["section"] == RECORDINGS and pipeline.privacy.pseudonymise:
        raise Left(CALLERS)  # who called stood in another part, so that the number could not be found in the name
    return pipeline.encode(redact(part_of(part, flow, pipeline.rules), pipeline.privacy))


def _rejected(settings: Settings, span: Span, how: How, outcome: Outcome, resolve: Resolve) -> Iterator[dict[str, Any]]:
    """The parts in the span; what was rejected more than once is one, the first."""
    seen: set[tuple[Any, ...]] = set()
    topic = topic_name(settings.topic_prefix, "Rejected")
    with closing(Past(settings, topic, since_ms=span.since, way_out=MAKE_TOPICS)) as past:
        for message in past:
            outcome.read += 1
            how.progress(outcome.read, past.total)
            try:
                name, part = decode(message.value(), resolve)
            except Undecodable as reason:
                name, part = str(reason), {}
            if name != "Rejected":
                outcome.left["no Rejected record"] += 1
            elif not span.holds(part["received_at"]):
                outcome.elsewhen += 1
            else:
                same = tuple(part[name] for name in ("flow_id", "section", "index", "payload"))
                if same in seen:
                    outcome.left["the same as another"] += 1
                else:
                    seen.add(same)
                    yield part
        _tell_deleted(past, outcome)


def _waits_for_flow(part: dict[str, Any], pipeline: Pipeline) -> bool:
    """Whether all that it lacks is its flow."""
    try:
        part_of(part, None, pipeline.rules)
    except Left as reason:
        return str(reason) == NO_FLOW
    except Exception:  # noqa: BLE001 - it is raised again, and counted, where it is made into records
        return False
    return False


def _flows(settings: Settings, parts: Sequence[dict[str, Any]], resolve: Resolve) -> dict[tuple[str, int], Any]:
    """The main Flow records of these parts' deliveries, by flow_id and received_at."""
    wanted = {(part["flow_id"], part["received_at"]) for part in parts}
    found: dict[tuple[str, int], Any] = {}
    if not wanted:
        return found
    since = min(at for _, at in wanted)
    with closing(
        Past(settings, topic_name(settings.topic_prefix, "Flow"), since_ms=since, way_out=MAKE_TOPICS)
    ) as past:
        for message in past:
            try:
                name, flow = decode(message.value(), resolve)
            except Undecodable:
                continue
            if name == "Flow" and flow["main"] and (flow["flow_id"], flow["received_at"]) in wanted:
                found[flow["flow_id"], flow["received_at"]] = flow
    return found


def _pipeline(settings: Settings, how: How) -> Pipeline:
    """The receiver's, without the raw topic: what stands there is not put there again."""
    pipeline = replace(make_pipeline(settings), raw=None)
    return replace(pipeline, encode=Records(settings.topic_prefix, HEADERS)) if how.dry_run else pipeline


async def _publish(settings: Settings, pipeline: Pipeline, groups: Iterable[Group], how: How, outcome: Outcome) -> None:
    """Publishes all groups, or only counts them."""
    if how.dry_run:
        for group in groups:
            outcome.published.update(record.topic for record in group)
        return
    publisher = make_publisher(settings, pipeline)
    await publisher.start()
    try:
        await _until_healthy(publisher)
        source, most = iter(groups), max(1, int(min(MOST_AT_ONCE, how.rate / 10)))
        while batch := await asyncio.to_thread(list, islice(source, most)):
            began = time.monotonic()
            await asyncio.gather(*(_published(publisher, group, outcome) for group in batch))
            await asyncio.sleep(max(len(batch) / how.rate - (time.monotonic() - began), 0))
    finally:
        await publisher.stop()


async def _published(publisher: Publisher, group: Group, outcome: Outcome) -> None:
    """Returns when the group is in Kafka, or counted as refused. Raises ReplayFailed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            await publisher.publish(group, live=False)
        except Unacknowledged as reason:
            if time.monotonic() > deadline:
                raise ReplayFailed(f"{_not_taken(reason)}; run it again, ids stay the same") from None
            await asyncio.sleep(RETRY_SECONDS)
        except Unpublishable as reason:
            outcome.left[f"Kafka refuses it for good ({reason})"] += 1
            return
        else:
            outcome.published.update(record.topic for record in group)
            return


async def _until_healthy(publisher: Publisher) -> None:
    """Wait: until it is, nobody knows how to frame records. Raises ReplayFailed."""
    deadline = time.monotonic() + PATIENCE_SECONDS / 3
    while not publisher.healthy:
        if time.monotonic() > deadline:
            raise ReplayFailed(_not_taken(publisher.reason))
        await asyncio.sleep(RETRY_SECONDS)


def _not_taken(reason: object) -> str:
    return f"Kafka does not take records: {reason}"
