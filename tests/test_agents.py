"""The agent's work without Kafka: a chunk is counted, skipped, read again or set aside; the shell only hands it on."""

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import InvalidTimestampError, KafkaConnectionError
from faust.transport.drivers import aiokafka as driver

from schemas import decode, encode
from schemas.refusals import WRONG_TIME
from schemas.settings import Window
from streams import changelog, chunks, measures
from streams.agents import count_flows
from streams.changelog import Place, Writer
from streams.chunks import ChunkThread, Fetched
from streams.failures import CLOCK_PAUSE_SECONDS, PAUSE_SECONDS
from streams.framing import Framing
from streams.metrics import COUNTS, lanes
from streams.offsets import Chunk
from streams.partition import A_TURN, Partition, Ports, Topics
from streams.partitions import Partitions
from streams.rules import NO_RULES
from streams.table import Table
from tests.flow_oracle import flow

NOW = 1_763_800_000_000
SOURCE = "phonon.flow.v1"
WRITTEN = Topics("metrics", "alerts", "rejected")


class Shore:
    """A partition whose state is read, and what it asked for."""

    def __init__(self, *, next_offset: int = 100) -> None:
        self.sought: list[int] = []
        ports = Ports((Window("5m", 300),), NO_RULES, WRITTEN, self.seek, Framing(), lambda: NOW)
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
    return Fetched(3, Chunk(first, first + number - 1, end), records, 1)


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
        if len(asked) == 1:
            raise KafkaConnectionError
        return 0, {2: 100, 3: 110}[len(asked)]

    monkeypatch.setattr(changelog, "first_from", first_from)
    for _ in range(4):
        await shore.partition.count(fetched(110, 5))
    assert asked == [100, 100, 100]
    assert (shore.table.next_offset, shore.sought) == (110, [100, 100, 100, 110])
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
    partitions._seen_at -= 16
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
    partition, waits = Shore().partition, list[float]()

    class Refused:
        def __init__(self, _place: object) -> None: ...
        async def close(self) -> None: ...

    async def recover(self: Partition, _writer: Writer) -> None:
        self.trouble = None

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
    thread._consumer = SimpleNamespace(_client=Client())
    monkeypatch.setattr(ChunkThread, "should_stop", False)
    await thread.on_start()
    assert asked == ["bootstrap"] * 2


def test_a_state_is_lost_once_however_often_it_can_not_be_read_again() -> None:
    partition = Shore().partition
    before = measures.REGISTRY.get_sample_value("phonon_partitions_lost_total") or 0
    for table in (Table((5,)), None, None):
        partition.table = table
        partition._lose(TimeoutError())
    assert measures.REGISTRY.get_sample_value("phonon_partitions_lost_total") == before + 1
