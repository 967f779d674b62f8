"""The groups' task, beside partition 0: whoever owns that reads all DIDs' metrics and writes groups and rankings.

What it knows is read from the topics, at its start and as they go on, and nothing is written before they were read to
the end that they had at the start. So whoever takes it over reads the same again, and fences its predecessor, as with a
partition's state (changelog.Writer). After any error, and when the groups' file has changed, it begins anew.
Alerts of groups are in one transaction with what has become of their episodes, in the changelog's partition 0.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas import Undecodable, UnknownId
from schemas.settings import Ranked, Window
from streams import changelog, latest, live, measures, told
from streams.changelog import Place, Sent, Writer
from streams.closing import let_go, stop
from streams.failures import Failures
from streams.framing import Framing
from streams.gathered import Gathered, Together
from streams.groups import Groups
from streams.groups_file import GroupsFile
from streams.live import Live
from streams.ranking import Ranking
from streams.rules import Rule
from streams.table import GROUPS_KEY

log = logging.getLogger("streams.gathering")

WRITE_EVERY_SECONDS: Final = 1.0
RANK_EVERY_SECONDS: Final = 5.0
WAKE_SECONDS: Final = 0.2
WARN_EVERY_SECONDS: Final = 60.0
QUIET_SECONDS: Final = 30.0  # nothing to read for so long: ask whether Kafka can be reached at all
FETCH_BYTES: Final = 1024 * 1024  # or what half a second brought: flush by flush it takes 2.5 times the CPU
RECORDS_AT_ONCE: Final = 100  # 10 ms of decoding: the partitions of this worker go on in between

TOPICS: Final = ("DidMetrics", "GroupMetrics", "DidRanking", "DidAlert")


class Topics(NamedTuple):
    """What is read, and where records go: the topics of TOPICS."""

    metrics: str
    groups: str
    rankings: str
    alerts: str


class Ports(NamedTuple):
    """What the task needs of its worker."""

    windows: tuple[Window, ...]
    rules: tuple[Rule, ...]
    rankings: tuple[Ranked, ...]
    topics: Topics
    file: GroupsFile
    framing: Framing
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000


class Gathering:
    """The task. `place` is that of partition 0."""

    def __init__(self, place: Place, ports: Ports) -> None:
        self._place, self._ports = place, ports
        self._gathered: Gathered | None = None
        self._there: dict[str, bytes] = {}  # the record of each group, as it stands on its topic
        self._warned_at = float("-inf")
        self._heard_at = 0.0  # when something was read, or any broker answered
        self._failures = Failures("groups")
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to live."""
        self._task = asyncio.create_task(self._live(), name="groups")

    async def stop(self) -> None:
        """Let go once what is just being written is there, if that takes no longer than 2 s; reading, at once."""
        self._stopping.set()
        if self._task is not None:
            _, waiting = await asyncio.wait({self._task}, timeout=2 if self._gathered else 0)
            for task in waiting:
                task.cancel()

    def measure(self) -> None:
        """Bring the gauges up to date; after the partitions, to whose alerts those of groups are added."""
        measures.GROUPS.set(len(self._ports.file.groups.names) if self._gathered else 0)
        measures.ALERTS_FIRING.inc(self._gathered.firing() if self._gathered else 0)

    async def _live(self) -> None:
        while not self._stopping.is_set():
            pause = 0.0
            writer, consumer = Writer(self._place, "groups"), _consumer(self._place)
            try:
                await writer.open()
                await consumer.start()
                await self._gather(writer, consumer)
            except Exception as error:  # noqa: BLE001 - whatever it is: it is told, and the partitions count on
                if not self._stopping.is_set():
                    pause = self._failures.take(error)
            finally:
                self._gathered = None
                let_go(stop(consumer))
                await writer.close()
            if not self._stopping.is_set():
                await asyncio.sleep(pause)

    async def _gather(self, writer: Writer, consumer: AIOKafkaConsumer) -> None:
        """Read all, then follow and write, until the mapping changes."""
        groups, begun = self._ports.file.groups, time.monotonic()
        gathered, old_rankings = await self._read_all(writer, consumer, groups)
        self._gathered, self._heard_at = gathered, time.monotonic()
        log.info("groups: %d live after %.1f s", len(groups.names), time.monotonic() - begun)
        ranked: list[Sent] = [(self._ports.topics.rankings, key, None, []) for key in old_rankings]
        ranked_at = float("-inf")
        while not self._stopping.is_set() and self._ports.file.groups is groups:
            due = time.monotonic() + WRITE_EVERY_SECONDS
            if due - ranked_at > RANK_EVERY_SECONDS:
                ranked, ranked_at = ranked + self._ranked(gathered), due
            await self._write(writer, gathered.take(self._ports.now_ms()), ranked)
            ranked = []
            await self._follow(consumer, gathered, due)

    async def _read_all(
        self, writer: Writer, consumer: AIOKafkaConsumer, groups: Groups
    ) -> tuple[Gathered, Iterable[bytes]]:
        """All that the topics hold now; and which rankings there are that nobody asks for any more."""
        ports = self._ports
        rankings = [Ranking(ranked, ports.windows) for ranked in ports.rankings]
        lengths = [window.seconds // 60 for window in ports.windows]
        gathered = Gathered(lengths, groups, rules=ports.rules, rankings=rankings)
        old_rankings = await self._restore(writer, consumer, gathered)
        for number, record in enumerate((await _last(consumer, await writer.places(ports.topics.metrics))).values()):
            await self._take(gathered, record)
            if number % RECORDS_AT_ONCE == 0:
                await asyncio.sleep(0)
        gathered.settle(self._there, ports.now_ms())
        return gathered, old_rankings

    async def _write(self, writer: Writer, together: Together, ranked: list[Sent]) -> None:
        """Groups and alerts that changed, and rankings, in one transaction."""
        records = ranked + self._records(together)
        if records:
            await writer.write_keyed(records)
            self._failures.well()
        measures.GROUPS_WRITTEN.inc(sum(record[0] == self._ports.topics.groups for record in records))
        for alert in together.alerts:
            measures.ALERTS.labels(alert.state).inc()

    async def _restore(self, writer: Writer, consumer: AIOKafkaConsumer, gathered: Gathered) -> set[bytes]:
        """Which groups have records, and where their alerts stand; returns rankings that nobody asks for any more."""

        def restore(key: bytes, value: bytes | None) -> None:
            if key.startswith(GROUPS_KEY):
                gathered.restore(key[len(GROUPS_KEY) :].decode(), value)

        topics = self._ports.topics
        groups, rankings = [
            {key: record.value for key, record in (await _last(consumer, await writer.places(topic))).items()}
            for topic in (topics.groups, topics.rankings)
        ]
        await changelog.read(self._place, restore, lambda _: None)
        self._there = {key.decode(): value for key, value in groups.items() if value is not None}
        known = {ranked.key.encode() for ranked in self._ports.rankings}
        return {key for key, value in rankings.items() if value is not None and key not in known}

    async def _follow(self, consumer: AIOKafkaConsumer, gathered: Gathered, until: float) -> None:
        while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
            for record in await _fetch(consumer, min(left, WAKE_SECONDS)):
                self._heard_at = time.monotonic()
                await self._take(gathered, record)
        if time.monotonic() - self._heard_at > QUIET_SECONDS:
            if consumer._fetcher.error_future.done():  # aiokafka goes on saying that there is nothing
                raise KafkaError("aiokafka fetches no more")
            await consumer.topics()  # raises KafkaError where no broker that it knows answers; fetching says nothing
            self._heard_at = time.monotonic()

    async def _take(self, gathered: Gathered, record: Any) -> None:
        """A record of a DID's metrics; one that can't be read leaves the DID as it was."""
        did = (record.key or b"").decode(errors="replace")
        if not gathered.wants(did):
            return
        try:
            found = None if record.value is None else await self._read(record.value)
        except Undecodable as error:
            if time.monotonic() - self._warned_at > WARN_EVERY_SECONDS:
                self._warned_at = time.monotonic()
                log.warning("groups: %s partition %d offset %d is passed over: %s",
                            record.topic, record.partition, record.offset, error)  # fmt: skip
        else:
            gathered.put(did, found, record.timestamp)

    async def _read(self, value: bytes) -> Live:
        """The record; a schema that is not known yet is looked up, for as long as that takes."""
        while True:
            try:
                return latest.read(value, self._ports.windows, self._ports.framing.resolve)
            except UnknownId as unknown:
                await self._ports.framing.learn([unknown.id], partial(log.warning, "groups wait: %s"))

    def _records(self, together: Together) -> list[Sent]:
        ports, framing = self._ports, self._ports.framing.headers
        records: list[Sent] = []
        for name, group in together.groups:
            if group is None and self._there.pop(name, None) is not None:
                records.append((ports.topics.groups, name.encode(), None, []))
            elif group is not None:
                value = live.value(group, ports.windows, framing["GroupMetrics"])
                if value != self._there.get(name):
                    records.append((ports.topics.groups, name.encode(), value, live.headers(group, "GroupMetrics")))
                self._there[name] = value
        for alert in together.alerts:
            value = told.value(alert, framing["DidAlert"], of_group=True)
            records.append((ports.topics.alerts, alert.did.encode(), value, told.headers(alert)))
        return records + [(self._place.changelog, GROUPS_KEY + name.encode(), v, []) for name, v in together.state]

    def _ranked(self, gathered: Gathered) -> list[Sent]:
        header, topic, as_of = self._ports.framing.headers["DidRanking"], self._ports.topics.rankings, gathered.as_of
        return [
            (topic, ranking.ranked.key.encode(), ranking.value(places, as_of or 0, header), ranking.headers(as_of or 0))
            for ranking, places in gathered.ranked()
        ]


def _consumer(place: Place) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **place.connection,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=10_000,
        fetch_min_bytes=FETCH_BYTES,
        fetch_max_wait_ms=500,
    )


async def _last(consumer: AIOKafkaConsumer, places: list[TopicPartition]) -> dict[bytes, Any]:
    """The last record of each key, up to the present end; what comes later is for `_fetch`."""
    last: dict[bytes, Any] = {}
    async with asyncio.timeout(changelog.STILL_SECONDS) as still:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        while [place for place in places if await consumer.position(place) < ends[place]]:
            records = await _fetch(consumer, WAKE_SECONDS)
            last |= {record.key or b"": record for record in records}
            if records:
                changelog.goes_on(still)
    return last


async def _fetch(consumer: AIOKafkaConsumer, seconds: float) -> list[Any]:
    """A few records, waited for at most so long; other tasks have a turn first."""
    await asyncio.sleep(0)
    fetched = await consumer.getmany(timeout_ms=int(seconds * 1000), max_records=RECORDS_AT_ONCE)
    return [record for records in fetched.values() for record in records]
