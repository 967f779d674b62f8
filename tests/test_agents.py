"""The agent's work without Kafka: a chunk is counted, skipped, read again or set aside; the shell only hands it on."""

import asyncio
import random
import time
from base64 import b64decode
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import InvalidTimestampError, KafkaConnectionError, KafkaError
from faust.transport.drivers import aiokafka as driver

from schemas import decode, encode, registry_header
from schemas.refusals import WRONG_TIME
from schemas.registry import RegistryError
from schemas.settings import Window, read_settings
from streams import changelog, chunks, flows, framing, measures
from streams.agents import count_flows
from streams.changelog import Place, Sent, Writer
from streams.chunks import ChunkThread, Fetched
from streams.failures import CLOCK_PAUSE_SECONDS, PAUSE_SECONDS
from streams.framing import Framing
from streams.metrics import COUNTS, lanes
from streams.offsets import Chunk
from streams.partition import A_TURN, BEHIND_LIVE_A_FLUSH, BEHIND_RECORDS, FLUSH_SECONDS, Partition, Ports, Topics
from streams.partitions import Partitions
from streams.rules import NO_RULES
from streams.table import EMIT_EVERY_SECONDS, Table
from tests.fakes import FakeRegistry
from tests.flow_oracle import flow
from tests.patience import until

NOW = 1_763_800_000_000
SOURCE = "phonon.flow.v1"
WRITTEN = Topics("metrics", "alerts", "rejected")


class Shore:
    """A partition whose state is read, and what it asked for."""

    def __init__(self, *, next_offset: int = 100) -> None:
        self.sought: list[int] = []
        self.now = NOW
        self.framing = Framing(read_settings({}))
        ports = Ports((Window("5m", 300),), NO_RULES, WRITTEN, self.seek, self.framing, lambda: self.now)
        self.partition = Partition(Place("group", "log", SOURCE, 3, {}), ports)
        self.table = self.partition.table = Table((5,))
        self.table.passed(next_offset)

    async def seek(self, _partition: int, offset: int) -> None:
        self.sought.append(offset)

    @property
    def flows(self) -> int:
        return sum(lanes(did.sums[0])[COUNTS.index("flows")] for did in self.table.dids.values())


def fetched(first: int, number: int, *, value: bytes | None = None, end: int = 1000) -> Fetched:
    records = [
        SimpleNamespace(
            topic=SOURCE, partition=3, offset=offset, timestamp=NOW,
            value=value or encode("Flow", flow(random.Random(offset), "A", NOW)),
        )
        for offset in range(first, first + number)
    ]  # fmt: skip
    return Fetched(3, Chunk(first, first + number - 1, end), records, 1, time.monotonic())


@pytest.mark.parametrize(
    ("first", "number", "flows", "next_offset", "sought"),
    [
        (100, 5, 5, 105, []),
        (90, 15, 5, 105, []),
        (90, 10, 0, 100, []),
        (101, 5, 0, 100, [100]),
    ],
    ids=["the next", "an overlap", "counted before", "a gap"],
)
async def test_a_chunk_is_taken_as_its_offsets_say(
    first: int, number: int, flows: int, next_offset: int, sought: list[int]
) -> None:
    shore = Shore()
    await shore.partition.count(fetched(first, number))
    assert (shore.flows, shore.table.next_offset, shore.sought) == (flows, next_offset, sought)


async def test_a_chunk_of_before_a_seek_is_not_taken_for_a_topic_made_anew(caplog: pytest.LogCaptureFixture) -> None:
    """Two workers that both believe in a partition take it from each other: what lay ready tells of an older log."""
    shore = Shore(next_offset=200)
    lay_ready = fetched(100, 5, end=150)
    await shore.partition.seek()
    await shore.partition.count(lay_ready)
    assert (shore.flows, shore.table.next_offset, caplog.messages) == (0, 200, [])
    await shore.partition.count(fetched(100, 5, end=150))
    assert (shore.flows, shore.table.next_offset) == (5, 105)
    assert "its topic was made anew" in caplog.text


async def test_a_long_chunk_gives_way_and_ends_where_the_state_was_dropped() -> None:
    """Counted up to a whole turn: what a flush takes in between is of a piece."""
    shore = Shore()
    task = asyncio.create_task(shore.partition.count(fetched(100, 3 * A_TURN)))
    await asyncio.sleep(0)
    assert (shore.flows, shore.table.next_offset) == (A_TURN, 100 + A_TURN)
    shore.partition.table = None
    await task
    assert (shore.flows, shore.table.next_offset) == (A_TURN, 100 + A_TURN)


async def test_a_gap_met_again_is_passed_only_if_the_log_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shore, asked = Shore(), []

    async def first_from(_place: Place, offset: int) -> tuple[int, int]:
        asked.append(offset)
        if len(asked) <= 3:
            raise (KafkaConnectionError, OSError, TimeoutError)[len(asked) - 1]
        return 0, {4: 100, 5: 110}[len(asked)]

    monkeypatch.setattr(changelog, "first_from", first_from)
    for _ in range(6):
        await shore.partition.count(fetched(110, 5))
    assert asked == [100] * 5
    assert (shore.table.next_offset, shore.sought) == (110, [*[100] * 5, 110])
    await shore.partition.count(fetched(110, 5))
    assert (shore.flows, shore.table.next_offset) == (5, 115)


@pytest.mark.parametrize(
    ("begin", "first", "next_offset", "expired"),
    [(500, 500, 500, 400), (0, 500, 500, 0), (450, 500, 500, 350), (0, 100, 100, 0)],
    ids=["deleted to the end", "a transaction's marker", "both", "records that are slow to come"],
)
async def test_where_the_log_has_no_more_records_none_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, begin: int, first: int, next_offset: int, expired: int
) -> None:
    """Nothing comes that would show the hole: the worker would say that records wait, and not be ready, for ever."""
    shore, asked = Shore(), []
    partitions = Partitions(lambda _: shore.partition)
    partitions.owned[3] = shore.partition
    before = measures.EXPIRED._value.get()

    async def first_from(_place: Place, offset: int) -> tuple[int, int]:
        asked.append(offset)
        return begin, first

    monkeypatch.setattr(changelog, "first_from", first_from)
    await partitions.watch({3: 500})
    for _ in range(2):
        shore.partition.progress_at -= 6
        shore.partition.sought_at -= 6
        await partitions.watch({3: 500})
    assert (asked, shore.sought) == ([100], [100, next_offset])
    assert (shore.table.next_offset, shore.partition.lag) == (next_offset, 500 - next_offset)
    assert measures.EXPIRED._value.get() - before == expired


async def test_a_topic_made_anew_is_read_from_its_start(caplog: pytest.LogCaptureFixture) -> None:
    """Or one that a broker without the newest records came to lead: how far it went back is told, once."""
    shore = Shore()
    await shore.partition.count(fetched(0, 10, end=15))
    assert (shore.flows, shore.table.next_offset) == (10, 10)
    await shore.partition.count(fetched(10, 5, end=15))
    assert (shore.flows, shore.partition.lag) == (15, 0)
    [line] = caplog.messages
    assert line.startswith("partition 3: counted up to offset 100, and the log ends at 15: its topic was made anew, or")


async def test_bad_records_are_set_aside_with_their_place_and_passed() -> None:
    shore = Shore()
    await shore.partition.count(fetched(100, 2, value=b"foreign"))
    assert shore.table.next_offset == 102
    topics, keys, values, headers = zip(*shore.partition._rejected, strict=True)
    assert (set(topics), set(keys)) == ({"rejected"}, {None})
    name, record = decode(values[1])
    assert (name, record["section"], record["payload"]) == ("Rejected", SOURCE, "Zm9yZWlnbg==")
    assert record["reason"].endswith("(phonon.flow.v1 partition 3 offset 101)")
    event = dict(headers[1])
    assert (event["ce_id"], event["ce_type"]) == (b"phonon.flow.v1/3/101", b"phonon.rejected.v1")
    assert set(event) == {"ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "content-type"}


@pytest.mark.parametrize(("size", "cut"), [(512 * 1024, ""), (512 * 1024 + 1, "; payload cut from 524289 bytes")])
async def test_a_bad_record_is_kept_up_to_a_size(size: int, cut: str) -> None:
    """What is kept must fit into a record of the rejected topic."""
    shore = Shore()
    await shore.partition.count(fetched(100, 1, value=b"x" * size))
    _, record = decode(shore.partition._rejected[0][2])
    assert len(b64decode(record["payload"])) == 512 * 1024
    assert record["reason"].endswith(f"(phonon.flow.v1 partition 3 offset 100{cut})")


class Journal:
    """A writer that notes what it is given."""

    def __init__(self) -> None:
        self.flushes: list[tuple[list[Any], int | None]] = []

    async def write(self, records: list[Any], *, next_offset: int | None) -> None:
        self.flushes.append((records, next_offset))

    def take(self) -> tuple[dict[str, list[Any]], int | None]:
        """The one flush there was: records by topic, and the offset for the group."""
        [(records, commit)], self.flushes = self.flushes, []
        by_topic = {topic: [one[1:3] for one in records if one[0] == topic] for topic, *_ in records}
        return by_topic, commit


async def test_what_belongs_together_is_written_together_and_once() -> None:
    shore, journal = Shore(), Journal()
    partition, writer = shore.partition, cast(Writer, journal)
    before = measures.EMITTED._value.get()
    await partition.count(fetched(100, 2))
    await partition.count(fetched(102, 1, value=b"foreign"))
    assert partition.lag == 1000 - 103
    await partition._flush(writer)
    written, commit = journal.take()
    assert ({topic: len(records) for topic, records in written.items()}, commit) == (
        {"log": 2, "metrics": 1, "rejected": 1}, 103,
    )  # fmt: skip
    assert measures.EMITTED._value.get() - before == 1
    again = Table((5,))
    for key, value in written["log"]:
        again.restore(key, value)
    again.settle()
    assert (again.next_offset, again.dids["A"].sums) == (103, shore.table.dids["A"].sums)
    await partition._flush(writer)
    assert journal.flushes == []
    await partition.count(fetched(103, 1))
    await partition._flush(writer)
    written, commit = journal.take()
    assert ("rejected" in written, commit) == (False, None), "what is for onlookers is told once a second"
    partition._stopping.set()
    await partition._flush(writer)
    assert journal.take() == ({}, 104), "and at the end"


async def test_who_is_far_behind_flushes_seldom_and_everybody_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    partition, lags, waits = Shore(next_offset=0).partition, list[int](), list[float]()

    async def flush(self: Partition, _writer: Writer) -> None:
        lags.append(self.lag)

    async def wait(self: Partition, seconds: float) -> None:
        waits.append(seconds)
        self.end = BEHIND_RECORDS + (len(waits) > 2)
        if len(waits) == 5:
            self._stopping.set()

    monkeypatch.setattr(Partition, "_flush", flush)
    monkeypatch.setattr(Partition, "_wait", wait)
    await partition._keep_flushing(cast(Writer, Journal()))
    assert waits == [FLUSH_SECONDS] * 5
    assert lags == [BEHIND_RECORDS, BEHIND_RECORDS, BEHIND_RECORDS + 1]
    lags.clear()
    waits.clear()
    partition._stopping.clear()
    monkeypatch.setattr("streams.partition.BEHIND_FLUSH_SECONDS", 0)
    await partition._keep_flushing(cast(Writer, Journal()))
    assert len(lags) == 6


async def test_who_is_far_behind_keeps_no_heap_of_what_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog of somebody else's records was held for 5 s, to be written in one transaction that took too long."""
    partition, journal, waits = Shore(next_offset=0).partition, Journal(), list[int]()

    chunks = [(0, 99), (99, 1), (100, 99), (199, 2)]

    async def wait(self: Partition, _seconds: float) -> None:
        waits.append(len(self._rejected))
        if chunks:
            await self.count(fetched(*chunks.pop(0), value=b"foreign", end=10**6))
        else:
            self._stopping.set()

    monkeypatch.setattr(Partition, "_wait", wait)
    await partition._keep_flushing(cast(Writer, journal))
    assert waits == [0, 99, 0, 99, 0]
    assert [len(records) - 1 for records, _ in journal.flushes[:2]] == [100, 101]


async def test_who_goes_quiet_has_zeros_written_with_the_end_of_its_buckets() -> None:
    shore, journal = Shore(), Journal()
    await shore.partition.count(fetched(100, 2))
    await shore.partition._flush(cast(Writer, journal))
    [(bucket, _), (_offset, _)] = journal.take()[0]["log"]
    shore.now += 7 * 60_000
    shore.table.dids["A"].emitted_at = 0
    await shore.partition._flush(cast(Writer, journal))
    written, _ = journal.take()
    assert [record for record in written["log"] if record[1] is None] == [(bucket, None)]
    [(key, value)] = written["metrics"]
    assert (key, decode(value)[1]["windows"][0]["flows"]) == (b"A", 0)
    assert shore.table.dids == {}


async def test_what_is_counted_again_and_what_is_too_old_has_a_figure_of_its_own() -> None:
    shore, counters = Shore(), (measures.FLOWS, measures.DUPLICATE, measures.LATE)
    before = [counter._value.get() for counter in counters]
    old = encode("Flow", flow(random.Random(1), "A", NOW - 3_600_000))
    chunk = fetched(100, 6)
    chunk.records[3].value = chunk.records[4].value = chunk.records[0].value
    chunk.records[5].value = old
    await shore.partition.count(chunk)
    assert [counter._value.get() - was for counter, was in zip(counters, before, strict=True)] == [3, 2, 1]


async def test_from_a_schema_that_is_asked_for_nothing_is_counted_until_it_is_known(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framing, "LOOK_UP_SECONDS", 0.01)
    shore, register = Shore(), FakeRegistry({7: "Flow"})
    shore.framing._registry, shore.framing.resolve = cast(Any, register), register.resolve
    chunk = fetched(100, 5)
    for record in chunk.records[2:]:
        record.value = registry_header(7) + record.value[10:]
    await shore.partition.count(chunk)
    assert (shore.flows, shore.table.next_offset, shore.sought) == (2, 102, [])
    await shore.partition.count(fetched(102, 3))
    assert (shore.flows, shore.table.next_offset) == (2, 102)
    await until(lambda: shore.partition.asking, 3)
    register.away = False
    await until(lambda: shore.sought and shore.partition.asking is None, 3)
    assert shore.sought == [102]
    await shore.partition.count(chunk._replace(at=time.monotonic()))
    assert (shore.flows, shore.table.next_offset) == (5, 105)
    assert caplog.messages == [f"partition 3: records wait: {RegistryError('the schema registry does not answer')}"]


async def test_before_the_state_is_read_chunks_are_dropped() -> None:
    shore = Shore()
    shore.partition.table = None
    await shore.partition.count(fetched(100, 2))
    assert shore.flows == 0


async def test_the_agent_hands_on_every_chunk_and_says_so() -> None:
    """An error of ours goes up, to end the worker: nothing is skipped."""
    done: list[Any] = []
    app = SimpleNamespace(
        agent=lambda *_, **__: lambda function: function, consumer=SimpleNamespace(counted=done.append)
    )
    shore = Shore()
    partitions = Partitions(lambda _: shore.partition)
    partitions.owned[3] = shore.partition
    agent = count_flows(app, "topic", partitions)

    async def given_chunks(*given: Fetched) -> Any:
        for chunk in given:
            yield chunk

    await agent(given_chunks(fetched(100, 3), fetched(103, 2), fetched(0, 1)._replace(partition=7)))
    assert (shore.flows, len(done)) == (5, 3)
    broken = fetched(105, 1)._replace(records=[None])
    with pytest.raises(AttributeError):
        await agent(given_chunks(broken))
    assert done[-1] is broken


async def test_ownership_says_why_it_is_not_ready() -> None:
    partitions = Partitions(lambda _: Shore().partition)
    assert partitions.trouble() == "waiting for Kafka to assign partitions"
    partitions.assigned = True
    assert partitions.trouble() is None
    partitions.owned[3] = Shore().partition
    assert partitions.trouble() == "partition 3: reading its state"
    partitions.revoked()
    assert partitions.trouble() == "waiting for Kafka to assign partitions"


async def test_who_is_given_partitions_begins_and_who_gives_them_up_ends() -> None:
    steps: list[tuple[str, int]] = []

    class Owned:
        def __init__(self, number: int) -> None:
            self.number = number

        def start(self) -> None:
            steps.append(("start", self.number))

        async def stop(self) -> None:
            await asyncio.sleep(0.01 if self.number == 1 else 0)  # the one given up earlier ends last
            steps.append(("stop", self.number))

    partitions = Partitions(cast(Any, Owned))
    partitions.own([2, 1])
    first = partitions.owned[2]
    partitions.own([2, 3])
    assert partitions.owned == {2: first, 3: partitions.owned[3]}
    await partitions.stop()
    assert steps[:3] == [("start", 1), ("start", 2), ("start", 3)]
    assert sorted(steps[3:]) == [("stop", 1), ("stop", 2), ("stop", 3)]


async def test_figures_are_of_all_that_is_owned_now() -> None:
    live, other, recovering = Shore().partition, Shore().partition, Shore().partition
    other.number, recovering.table = 5, None
    for partition, number, value in ((live, 2, None), (other, 1, encode("Flow", flow(random.Random(9), "B", NOW)))):
        await partition.count(fetched(100, number, value=value))
    partitions = Partitions(lambda _: live)
    partitions.owned = {3: live, 5: other, 7: recovering}
    other.end = 101
    live.loaded, other.loaded, recovering.loaded, live.delay_seconds = 1, 1, 0.4, 0.2
    for gauge in (measures.LAG_RECORDS, measures.RECOVERED, measures.EMISSION_DELAY):
        gauge.labels(9).set(17)  # of a partition that is another worker's now
    measures.GROUPS.set(4)
    partitions.measure(NOW + 2_000)

    def shown(name: str, **labels: str) -> float | None:
        return measures.REGISTRY.get_sample_value(f"phonon_{name}", labels)

    assert [shown("partitions", state=state) for state in ("live", "recovering")] == [2, 1]
    assert [shown(name) for name in ("dids", "dids_waiting", "groups", "alerts_firing")] == [2, 2, 0, 0]
    assert shown("buckets") == live.table.buckets + other.table.buckets  # type: ignore[union-attr]
    assert [shown("lag_records", partition=number) for number in "3579"] == [898, 0, 0, None]
    assert [shown("lag_seconds", partition=number) for number in "3579"] == [2, 0, 0, None]
    assert [shown("recovery_ratio", partition=number) for number in "3579"] == [1, 1, 0.4, None]
    assert [shown("emission_delay_seconds", partition=number) for number in "3579"] == [0.2, None, None, None]
    assert shown("clock_ahead_seconds") == 0
    first = max(table.clock.floor or 0 for table in (live.table, other.table) if table)
    partitions.measure(first - 60_000)
    assert shown("clock_ahead_seconds") == 60
    partitions.owned.clear()
    partitions.measure(NOW)
    assert [shown(name) for name in ("dids", "buckets", "dids_waiting", "clock_ahead_seconds")] == [0] * 4
    assert [shown("partitions", state=state) for state in ("live", "recovering")] == [0, 0]


async def test_a_stalled_fetch_is_sought_again_and_then_told(monkeypatch: pytest.MonkeyPatch) -> None:
    shore = Shore()
    shore.partition.trouble = None
    partitions = Partitions(lambda _: shore.partition)
    partitions.owned[3], partitions.assigned = shore.partition, True
    await partitions.watch({3: 500})
    assert (shore.sought, shore.partition.lag, partitions.trouble()) == ([], 400, None)
    shore.partition.progress_at -= 6
    await partitions.watch({3: 500})
    assert (shore.sought, partitions.trouble()) == ([100], None)
    shore.partition.progress_at -= 60
    assert partitions.trouble() == "partition 3: records wait and none are read"
    await asyncio.sleep(0)


async def test_an_idle_worker_says_that_kafka_does_not_answer() -> None:
    shore = Shore()
    shore.partition.trouble = None
    partitions = Partitions(lambda _: shore.partition)
    partitions.owned[3], partitions.assigned = shore.partition, True
    await partitions.watch({3: 100})
    assert partitions.trouble() is None
    shore.partition.seen_at -= 16
    assert partitions.trouble() == "Kafka does not answer"
    await partitions.watch({3: 100})
    assert partitions.trouble() is None


async def test_what_a_rebalance_dropped_is_sought_again_soon() -> None:
    shore = Shore()
    partitions = Partitions(lambda _: shore.partition)
    partitions.owned[3] = shore.partition
    await partitions.watch({3: 500})
    partitions.own([3])
    partitions._assigned_at -= 3
    shore.partition.progress_at = partitions._assigned_at - 1
    await partitions.watch({3: 500})
    await partitions.watch({3: 500})
    assert shore.sought == [100]


def test_an_outage_is_told_once_and_not_twice_a_second(caplog: pytest.LogCaptureFixture) -> None:
    """Of three servers that are away aiokafka names another one first each time."""
    partition, away = Shore().partition, [KafkaConnectionError(f"{n} is away, and others") for n in range(3)]
    for error in (away[0], away[1], TimeoutError(), away[2]):
        assert partition._lose(error) == PAUSE_SECONDS
    assert partition.trouble == "state dropped: KafkaConnectionError: 2 is away, and others"
    told = [
        f"partition 3: {why}; all is read again if it is still ours"
        for why in ("KafkaConnectionError: 0 is away, and others", "no answer from Kafka in time")
    ]
    assert caplog.messages == told
    partition._failures.well()
    partition._lose(TimeoutError())
    assert caplog.messages == [*told, told[1]]


@pytest.mark.parametrize(
    ("error", "pause", "why"),
    [
        (InvalidTimestampError(), CLOCK_PAUSE_SECONDS, f"Kafka {WRONG_TIME}"),
        (KeyError("x"), PAUSE_SECONDS, "KeyError 'x'"),
    ],
    ids=["a machine over an hour ahead: its state was read anew with two lines a second", "an error of ours"],
)
async def test_whatever_ends_a_flush_is_said_once_and_all_is_read_again(
    error: Exception, pause: float, why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of ours ended the task without a word, in a worker that said ready, with figures that stood still."""
    partition, waits, closed = Shore().partition, list[float](), list[object]()
    partition.table = None

    class Refused:
        def __init__(self, _place: object) -> None: ...
        async def close(self) -> None:
            closed.append(self)

    async def recover(self: Partition, _writer: Writer) -> None:
        assert self.table is None, "nothing is counted in what was dropped"
        self.table, self.trouble = Table((5,)), None

    async def flush(_self: Partition, _writer: Writer) -> None:
        raise error

    async def wait(self: Partition, seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            self._stopping.set()

    monkeypatch.setattr("streams.partition.Writer", Refused)
    for name, instead in (("_recover", recover), ("_keep_flushing", flush), ("_wait", wait)):
        monkeypatch.setattr(Partition, name, instead)
    await partition._live()
    assert waits == [pause] * 3
    assert (partition.table, len(set(closed))) == (None, 3)
    assert partition.trouble == f"state dropped: {why}"
    assert caplog.messages == [f"partition 3: {why}; all is read again if it is still ours"]


async def test_whatever_goes_wrong_is_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker just back from a pause names no brokers: aiokafka asserts, and partitions stood still without a word."""
    partition, opened = Shore().partition, list[str | None]()

    class Fenced:
        def __init__(self, _place: object) -> None: ...

        async def open(self) -> None:
            opened.append(partition.trouble)
            if len(opened) == 3:
                partition._stopping.set()
            raise AssertionError("Did we not perform bootstrap?")

        async def close(self) -> None: ...

    async def wait(_self: Partition, _seconds: float) -> None: ...

    monkeypatch.setattr("streams.partition.Writer", Fenced)
    monkeypatch.setattr(Partition, "_wait", wait)
    await partition._live()
    why = "AssertionError Did we not perform bootstrap?"
    assert opened == ["reading its state", *[f"reading its state again: {why}"] * 2]
    assert caplog.messages == [f"partition 3: {why}; all is read again if it is still ours"]


async def test_who_joins_waits_until_the_cluster_names_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else aiokafka's own task ended with an assertion: no partitions for ever, and not a word."""
    asked, named = list[str](), list[list[str]]([[], [], ["broker"]])

    class Client:
        cluster = SimpleNamespace(brokers=lambda: named[len(asked)])

        async def bootstrap(self) -> None:
            asked.append("bootstrap")
            if len(asked) == 1:
                raise KafkaConnectionError

    async def on_start(_self: object) -> None: ...

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", on_start)
    monkeypatch.setattr(chunks, "NAMELESS_SECONDS", 0)
    thread = ChunkThread.__new__(ChunkThread)
    coordinator = SimpleNamespace(_coordination_task=asyncio.get_running_loop().create_future())
    fetcher = SimpleNamespace(error_future=asyncio.get_running_loop().create_future())
    thread._consumer = SimpleNamespace(_client=Client(), _coordinator=coordinator, _fetcher=fetcher)
    monkeypatch.setattr(ChunkThread, "should_stop", False)
    await thread.on_start()
    assert asked == ["bootstrap"] * 2


async def started(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[str]]:
    """A thread's aiokafka consumer, whose tasks a test ends, and with what the process then ends."""
    said, loop = list[str](), asyncio.get_running_loop()
    client = SimpleNamespace(cluster=SimpleNamespace(brokers=lambda: ["broker"]))

    async def on_start(_self: object) -> None: ...

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", on_start)
    thread = ChunkThread.__new__(ChunkThread)
    thread.app = cast(Any, SimpleNamespace(ended=said.append))
    coordinator = SimpleNamespace(_coordination_task=loop.create_future())
    fetcher = SimpleNamespace(error_future=loop.create_future())
    thread._consumer = SimpleNamespace(_client=client, _coordinator=coordinator, _fetcher=fetcher, _closed=False)
    monkeypatch.setattr(ChunkThread, "should_stop", False)
    await thread.on_start()
    return thread._consumer, said


@pytest.mark.parametrize("error", [AssertionError("Did we not perform bootstrap?"), None], ids=["an error", "its end"])
async def test_where_aiokafkas_task_for_the_group_ends_with_an_error_so_does_the_process(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """Nothing would begin another: it would heartbeat no more, and count on."""
    consumer, said = await started(monkeypatch)
    task = consumer._coordinator._coordination_task
    if error:
        task.set_exception(error)
    else:
        task.set_result(None)
    await asyncio.sleep(0)
    left = "aiokafka left the group for good: AssertionError Did we not perform bootstrap?"
    assert said == ([left] if error else [])


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize(("error", "why"), [(KafkaError("odd"), "KafkaError: odd"), (None, "it was cancelled")])
async def test_where_aiokafkas_task_that_fetches_ends_so_does_the_process(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, why: str, closed: bool
) -> None:
    """It kept its place in the group, and its partitions were read by nobody."""
    consumer, said = await started(monkeypatch)
    consumer._closed = closed
    task = consumer._fetcher.error_future
    if error:
        task.set_exception(error)
    else:
        task.set_result(None)
    await asyncio.sleep(0)
    assert said == ([] if closed else [f"aiokafka fetches no more: {why}"])


class Batch:
    """A batch as aiokafka's: it takes a first record of any size, and then as many as fit."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []

    def append(self, *, timestamp: None, key: bytes, value: bytes, headers: object) -> object | None:
        if self.records and sum(len(value) for _, value in self.records) + len(value) > 10:
            return None
        self.records.append((key, value))
        return self


class FakeTransactions:
    """aiokafka's producer, as far as a flush goes: notes each step."""

    def __init__(self, **_config: object) -> None:
        self.steps: list[Any] = []
        self.create_batch = Batch

    async def start(self) -> None:
        self.steps.append("start")

    async def stop(self) -> None:
        self.steps.append("stop")

    async def begin_transaction(self) -> None:
        self.steps.append("begin")

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> Any:
        async def acknowledged() -> None:
            await asyncio.sleep(0.001)
            self.steps.append((topic, partition, batch.records))

        return asyncio.ensure_future(acknowledged())

    async def send_offsets_to_transaction(self, offsets: Any, group: str) -> None:
        self.steps.append((offsets, group))

    async def commit_transaction(self) -> None:
        self.steps.append("commit")


@pytest.mark.parametrize("next_offset", [None, 0, 105])
async def test_a_flush_is_one_transaction_with_all_that_it_was_given(
    monkeypatch: pytest.MonkeyPatch, next_offset: int | None
) -> None:
    """Committed after every acknowledgement; what does not go into one batch goes into the next."""
    monkeypatch.setattr(changelog, "AIOKafkaProducer", FakeTransactions)
    writer = Writer(Place("group", "log", SOURCE, 3, {}))
    sizes = {"log": [4, 4, 4, 30, 1, 1], "metrics": [1], "rejected": [10, 10]}
    given: list[Sent] = [
        (topic, b"%d" % n, bytes(size), []) for topic, some in sizes.items() for n, size in enumerate(some)
    ]
    random.Random(1).shuffle(given)
    await writer.open()
    await writer.write(given, next_offset=next_offset)
    await writer.close()
    start, begin, *batches, commit, stop = cast(FakeTransactions, writer._producer).steps
    if next_offset is not None:
        assert batches.pop() == ({TopicPartition(SOURCE, 3): next_offset}, "group")
    assert (start, begin, commit, stop) == ("start", "begin", "commit", "stop")
    assert {partition for _, partition, _ in batches} == {3}
    for topic in sizes:
        sent = [record for to, _, records in batches if to == topic for record in records]
        assert sent == [(key, value) for to, key, value, _ in given if to == topic]


def test_a_state_is_lost_once_however_often_it_can_not_be_read_again() -> None:
    partition = Shore().partition
    lost, own = "phonon_partitions_lost_total", {"partition": str(partition.number)}
    before = measures.REGISTRY.get_sample_value(lost, own) or 0
    partitions, began = Partitions(lambda _: partition), time.monotonic()
    assert partitions.lost_at() == float("-inf")
    partitions.owned[3] = partition
    assert partitions.lost_at() < began
    for table in (Table((5,)), None, None):
        partition.table = table
        partition._lose(TimeoutError())
    assert measures.REGISTRY.get_sample_value(lost, own) == before + 1, "of its own: all of a worker are lost at once"
    assert partitions.lost_at() >= began


# what a partition begins with, and what it writes


async def recovered(
    monkeypatch: pytest.MonkeyPatch, *, left: Table, first: int = 0, partitions: int = 8
) -> tuple[Shore, Partition]:
    """A partition that has read its state: what another table left; the source's log holds `first` to 999."""
    shore, kept = Shore(), left.take(now=NOW, seconds=0, most=0).changelog
    shore.partition.table = None

    async def places(_topic: str) -> range:
        return range(partitions)

    async def opened() -> None: ...

    async def read(_place: Place, restore: Any, progress: Any) -> tuple[int, int]:
        for key, value in kept:
            restore(key, value)
        progress(0.5)
        return first, 1000

    monkeypatch.setattr(changelog, "read", read)
    await shore.partition._recover(cast(Writer, SimpleNamespace(open=opened, places=places)))
    return shore, shore.partition


@pytest.mark.parametrize(
    ("left", "first", "next_offset", "expired"),
    [(None, 0, 0, 0), (None, 40, 40, 0), (100, 40, 100, 0), (100, 100, 100, 0), (100, 130, 130, 30)],
    ids=["a first start", "one long after the topic's", "a restart", "all that was counted is gone", "some was not"],
)
async def test_a_partition_goes_on_where_its_state_ends_and_tells_what_it_never_saw(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    left: int | None, first: int, next_offset: int, expired: int,
) -> None:  # fmt: skip
    before, state = measures.EXPIRED._value.get(), Table((5,))
    if left is not None:
        state.passed(left)
    shore, partition = await recovered(monkeypatch, left=state, first=first)
    assert partition.table is not None
    assert (partition.table.next_offset, shore.sought, partition.lag) == (
        next_offset,
        [next_offset],
        1000 - next_offset,
    )
    assert (partition.table.lengths, partition.trouble) == ((5,), None)
    assert partition.loaded == 1
    assert measures.EXPIRED._value.get() - before == expired
    assert caplog.messages == (["partition 3: offsets 100 to 129 expired unread"] if expired else [])


async def test_who_takes_over_writes_no_did_within_a_second_of_who_had_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one may have written it until it was fenced off: twice within a second is too often for its readers."""
    left = Table((5,))
    left.add(flows.read(encode("Flow", flow(random.Random(1), "A", NOW))), timestamp=NOW, now=NOW)
    before = time.monotonic()
    _, partition = await recovered(monkeypatch, left=left)
    after = time.monotonic()
    table = partition.table
    assert table is not None
    assert table.take(now=NOW, seconds=before + EMIT_EVERY_SECONDS - 0.001, most=9).live == []
    assert [did.did for did in table.take(now=NOW, seconds=after + EMIT_EVERY_SECONDS, most=9).live] == ["A"]


@pytest.mark.parametrize("strays", [0, 2])
async def test_dids_whose_calls_have_moved_to_another_partition_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, strays: int
) -> None:
    """Nothing else would say that partitions were added: each of the two counts a part."""
    dids = [f"+91224369{n:04d}" for n in range(60)]
    homes = {did: changelog.home(did.encode(), 8) for did in dids}
    here, elsewhere = ([did for did in dids if (homes[did] == 3) is ours] for ours in (True, False))
    state = Table((5,))
    for n, did in enumerate(here[:3] + elsewhere[:strays]):
        state.add(flows.read(encode("Flow", flow(random.Random(n), did, NOW))), timestamp=NOW, now=NOW)
    await recovered(monkeypatch, left=state)
    said = f"partition 3: {strays} of {3 + strays} DIDs have their calls in another one of the 8: their figures are"
    assert [line.startswith(said) for line in caplog.messages] == [True] * bool(strays)


async def test_who_is_far_behind_writes_state_and_few_metrics() -> None:
    """Each of them is old the moment it is written, and encoding them would take the time of counting."""
    shore, journal, number = Shore(), Journal(), 3 * BEHIND_LIVE_A_FLUSH
    chunk = fetched(100, number, end=100 + number + BEHIND_RECORDS + 1)
    for record in chunk.records:
        record.value = encode("Flow", flow(random.Random(record.offset), f"D{record.offset}", NOW))
    await shore.partition.count(chunk)
    await shore.partition._flush(cast(Writer, journal))
    written, _ = journal.take()
    assert (len(written["metrics"]), len(written["log"])) == (BEHIND_LIVE_A_FLUSH, number + 1)
    shore.partition.end -= 1
    await shore.partition._flush(cast(Writer, journal))
    assert len(journal.take()[0]["metrics"]) == 2 * BEHIND_LIVE_A_FLUSH


async def test_how_late_metrics_are_is_counted_from_the_last_record_in_them() -> None:
    shore, writer = Shore(), cast(Writer, Journal())
    await shore.partition.count(fetched(100, 2))
    shore.now = NOW + 1_500
    await shore.partition._flush(writer)
    assert shore.partition.delay_seconds == 1.5
    shore.now, shore.table.dids["A"].emitted_at = NOW + 7 * 60_000, 0
    await shore.partition._flush(writer)
    assert shore.partition.delay_seconds == 1.5, "what time alone changes is late by nothing"
    await shore.partition.count(fetched(102, 1))
    shore.now = NOW - 1_000
    await shore.partition._flush(writer)
    assert shore.partition.delay_seconds == 0, "a clock behind Kafka's"
