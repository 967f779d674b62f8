"""table: any interleaving, duplication, crash, replay point and split of batches gives the same state and figures."""

import random
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.settings import Window
from streams.metrics import COUNTS
from streams.table import COUNTED, DUPLICATE, GROUPS_KEY, LATE, Table
from streams.windows import PART_BITS
from tests.counted import counted
from tests.did_metrics import as_dict
from tests.flow_oracle import Record, flow, mismatches

MINUTE = 60_000
HOUR = 60 * MINUTE
NOW = 30_000 * HOUR
WINDOWS = (Window("5m", 300), Window("1h", 3600), Window("24h", 86400))


class Log:
    """A changelog, compacted and not, and a compacted metrics topic; what is not flushed is lost in a crash."""

    def __init__(self) -> None:
        self.state: dict[bytes, bytes | None] = {}
        self.written: list[tuple[bytes, bytes | None]] = []
        self.metrics: dict[str, Any] = {}
        self.emitted = 0

    def flush(self, table: Table, *, now: int, most: int = 1000) -> None:
        table.roll(now=now, most=most)
        changes = table.take(now=now, seconds=now / 1000, most=most)
        self.state.update(changes.changelog)
        self.written += changes.changelog
        self.metrics.update({did.did: as_dict(did, WINDOWS) for did in changes.live})
        self.emitted += len(changes.live)

    def restored(self, rng: random.Random | None = None) -> Table:
        table = new_table()
        records = list(self.state.items())
        if rng and rng.random() < 0.5:
            records = self.written
        elif rng:
            rng.shuffle(records)
        for key, value in records:
            table.restore(key, value)
        table.settle()
        return table


def new_table() -> Table:
    return Table([window.seconds // 60 for window in WINDOWS])


def add(table: Table, record: Record, *, now: int = NOW) -> str:
    return table.add(counted(record), timestamp=record["received_at"], now=now)


def traffic(rng: random.Random, number: int) -> list[Record]:
    """Flows of a few DIDs over more than a day, some of them sent again, some of these with another time."""
    ages = (0, MINUTE, 6 * MINUTE, HOUR, 23 * HOUR, 25 * HOUR)
    dids = [f"+91224369{n:04d}" for n in range(4)]
    flows = [flow(rng, rng.choice(dids), NOW - rng.choice(ages) - rng.randrange(3 * MINUTE)) for _ in range(number)]
    again = [dict(record) for record in rng.choices(flows, k=number // 3)] if flows else []
    for record in again[::2]:
        record["occurred_at"] += rng.randrange(2 * MINUTE)
    return flows + again


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 60), st.booleans())
def test_crashes_replays_and_batches_change_nothing(seed: int, number: int, crashing: bool) -> None:
    """The log of a run that crashed and replayed anywhere, in any batches, equals a recount."""
    rng = random.Random(seed)
    records = traffic(rng, number)
    log, table = Log(), new_table()
    at = reached = 0
    now = NOW
    while reached < len(records) or at < reached:
        for record in records[at : at + rng.randint(1, 9)]:
            add(table, record, now=now)
            at += 1
        table.passed(at)
        reached = max(reached, at)
        now += rng.randrange(2000)
        if rng.random() < 0.6:
            log.flush(table, now=now, most=rng.choice((1, 2, 1000)))
        if crashing and rng.random() < 0.3:
            table = log.restored(rng)
            at = table.next_offset or 0
    for _ in range(20):
        now += 1000
        log.flush(table, now=now)
    late = NOW - 24 * HOUR
    held = {record["did"] for record in records if record["occurred_at"] > late} | log.metrics.keys()
    assert mismatches([record for record in records if record["did"] in held], log.metrics) == []
    assert table.waiting == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_order_changes_nothing(seed: int, number: int) -> None:
    """Without retries that carry another time, any order gives the same figures."""
    rng = random.Random(seed)
    records = [flow(rng, rng.choice("ABC"), NOW - rng.randrange(HOUR)) for _ in range(number)]
    figures = []
    for _ in range(2):
        table, log = new_table(), Log()
        for record in records + rng.sample(records, number // 2):
            add(table, record)
        log.flush(table, now=NOW)
        figures.append(log.metrics)
        rng.shuffle(records)
    assert figures[0] == figures[1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 400), max_size=8))
def test_figures_follow_time_alone(seed: int, steps: list[int]) -> None:
    """As minutes pass without a record, each step's figures equal a recount; in the end there is nothing."""
    rng = random.Random(seed)
    records = [flow(rng, "A", NOW - rng.randrange(2 * HOUR)) for _ in range(20)]
    table, log, now = new_table(), Log(), NOW
    for record in records:
        add(table, record)
    for step in steps:
        now += step * MINUTE
        log.flush(table, now=now)
        assert mismatches(records, log.metrics) == []
    log.flush(table, now=NOW + 48 * HOUR)
    assert not table.dids
    assert table.buckets == 0
    table = new_table()
    for key, value in log.written:  # as long as Kafka has compacted nothing
        table.restore(key, value)
    table.settle()
    assert (table.dids, table.buckets, table.waiting) == ({}, 0, 0), "what was written for the last time is not again"
    assert [window["flows"] for window in log.metrics["A"]["windows"]] == [0, 0, 0]
    assert {key for key, value in log.state.items() if value is not None} == {b"o"}


class TestOneByOne:
    """What a flow is: counted, a duplicate or late."""

    def test_a_retry_with_another_time_counts_once_and_the_first_wins(self) -> None:
        table = new_table()
        record = flow(random.Random(1), "A", NOW - HOUR)
        assert add(table, record) == COUNTED
        assert add(table, record | {"occurred_at": NOW}) == DUPLICATE
        assert table.dids["A"].buckets.keys() == {(NOW - HOUR) // MINUTE << PART_BITS}

    def test_the_same_flow_of_two_dids_counts_for_both(self) -> None:
        table = new_table()
        record = flow(random.Random(1), "A", NOW)
        assert [add(table, record), add(table, record | {"did": "B"})] == [COUNTED, COUNTED]

    def test_a_flow_that_no_window_holds_is_late(self) -> None:
        table = new_table()
        assert add(table, flow(random.Random(1), "A", NOW)) == COUNTED
        assert add(table, flow(random.Random(2), "A", NOW - 24 * HOUR)) == LATE
        assert add(table, flow(random.Random(3), "A", NOW - 24 * HOUR + MINUTE)) == COUNTED


class TestEmission:
    """At most once a second per DID, no more DIDs at once than asked for, and nothing for nothing."""

    def test_a_did_is_written_once_a_second(self) -> None:
        table, log, rng = new_table(), Log(), random.Random(1)
        for ms in range(0, 3000, 100):
            add(table, flow(rng, "A", NOW), now=NOW + ms)
            log.flush(table, now=NOW + ms)
        assert log.emitted == 3

    def test_a_still_did_is_written_no_more(self) -> None:
        table, log = new_table(), Log()
        add(table, flow(random.Random(1), "A", NOW))
        for ms in range(0, 50_000, 500):
            log.flush(table, now=NOW + ms)
        assert log.emitted == 1

    def test_a_did_that_was_dropped_and_is_back_waits_for_its_second(self) -> None:
        """In a replay days pass within a second, so a DID may be written empty, dropped, and be called again."""
        table, rng, written = new_table(), random.Random(1), list[list[str]]()
        for seconds, did, at in ((0.0, "A", NOW), (1.0, "B", NOW + 25 * HOUR), (1.2, "A", NOW + 25 * HOUR)):
            add(table, flow(rng, did, at))
            table.roll(now=NOW, most=10)
            written.append([live.did for live in table.take(now=NOW, seconds=seconds, most=10).live])
        written.append([live.did for live in table.take(now=NOW, seconds=2.0, most=10).live])
        assert [sorted(dids) for dids in written] == [["A"], ["A", "B"], [], ["A"]]

    def test_many_that_go_quiet_together_are_spread(self) -> None:
        table, log, rng = new_table(), Log(), random.Random(1)
        for n in range(100):
            add(table, flow(rng, f"D{n}", NOW))
        log.flush(table, now=NOW)
        for seconds in range(1, 30):
            before = log.emitted
            log.flush(table, now=NOW + 6 * MINUTE + seconds * 1000, most=10)
            assert log.emitted - before <= 10
        assert log.emitted == 200
        assert all(metrics["windows"][0]["flows"] == 0 for metrics in log.metrics.values())

    def test_those_that_go_quiet_one_a_minute_are_written_in_their_minute(self) -> None:
        """A record that was not written anew is right as of its own time: here it must be right as of now."""
        table, log, rng = new_table(), Log(), random.Random(1)
        for age in range(10):
            add(table, flow(rng, f"D{age}", NOW - age * MINUTE))
        for minutes in range(8):
            log.flush(table, now=NOW + minutes * MINUTE + MINUTE // 2)
            flows = [log.metrics[f"D{age}"]["windows"][0]["flows"] for age in range(10)]
            assert flows == [int(age + minutes < 5) for age in range(10)]

    def test_a_replay_of_hours_between_two_flushes_leaves_no_more_to_be_moved_than_there_are_dids(self) -> None:
        """A minute of the past takes a moment: what was queued for each lasted minutes longer than the backlog."""
        table, log, rng = new_table(), Log(), random.Random(1)
        for minute, did in [*product(range(-200, 0), "AB"), (0, "C")]:
            table.add(counted(flow(rng, did, NOW + minute * MINUTE)), timestamp=NOW, now=NOW)
        assert table.waiting == 5
        log.flush(table, now=NOW, most=3)
        assert {did: log.metrics[did]["windows"][0]["flows"] for did in log.metrics} == {"A": 4, "B": 4, "C": 1}
        assert table.waiting == 0

    def test_those_that_change_together_are_written_a_few_at_a_time_and_none_twice(self) -> None:
        table, rng = new_table(), random.Random(1)
        for did in "ABC":
            add(table, flow(rng, did, NOW))
        written = [[one.did for one in table.take(now=NOW, seconds=0, most=most).live] for most in (0, 2, 2, 2)]
        assert written == [[], ["A", "B"], ["C"], []]

    def test_a_crash_before_the_last_metrics_leaves_no_stale_figures(self) -> None:
        """The last buckets are deleted along with the record of zeros, not before."""
        table, log = new_table(), Log()
        add(table, flow(random.Random(1), "A", NOW))
        log.flush(table, now=NOW)
        log.flush(table, now=NOW + 25 * HOUR, most=0)
        table.roll(now=NOW + 25 * HOUR, most=10)
        log.state.update(table.take(now=NOW + 25 * HOUR, seconds=0, most=0).changelog)
        restored = log.restored()
        log.flush(restored, now=NOW + 25 * HOUR + 1)
        assert [window["flows"] for window in log.metrics["A"]["windows"]] == [0, 0, 0]
        assert log.restored().dids == {}

    def test_all_are_written_anew_after_a_restore(self) -> None:
        table, log = new_table(), Log()
        add(table, flow(random.Random(1), "A", NOW))
        log.state.update(table.take(now=NOW, seconds=0, most=0).changelog)
        assert not log.metrics
        log.flush(log.restored(), now=NOW)
        assert log.metrics["A"]["windows"][0]["flows"] == 1

    def test_what_groups_keep_in_the_log_is_not_the_tables(self) -> None:
        table = new_table()
        table.restore(GROUPS_KEY + b"group/sales", b"alerts of a group")
        table.settle()
        assert (table.dids, table.alerts.take()) == ({}, ([], []))


def test_the_next_offset_is_written_once_also_where_nothing_was_seen_yet() -> None:
    """As version 1 writes it: the version, the offset, and no clock. A changelog holds this format."""
    table = new_table()
    assert table.take(now=NOW, seconds=0, most=9) == ([], [], [])
    written = []
    for next_offset in (7, 7, 8):
        table.passed(next_offset)
        written += [table.take(now=NOW, seconds=0, most=9).changelog]
    none = "80" + "00" * 7
    seven, nothing, eight = written
    assert (nothing, eight) == ([], [(b"o", bytes.fromhex("01" + "00" * 7 + "08" + 3 * none))])
    assert seven == [(b"o", bytes.fromhex("01" + "00" * 7 + "07" + 3 * none))]
    restored = new_table()
    restored.restore(*eight[0])
    restored.settle()
    assert (restored.next_offset, restored.clock.w, restored.clock.lag, restored.clock.floor) == (8, None, None, None)


def test_a_changelog_of_the_first_released_format_is_read() -> None:
    """Recorded from version 1: one DID's minute of one answered flow, the offset 42 and the clock. Keep it as it is."""
    counts = ["02", "02", *["00"] * 8, "02", "02", "00", "00", "a0fe0a", *["00"] * 6, "02", "02", *["00"] * 9]
    bucket = "01" + "".join(counts) + "00112233445566778899aabbccddeeff"
    recorded = {
        b"b" + (29_396_668).to_bytes(8, "big") + b"\0\0" + b"+912243692987": bytes.fromhex(bucket),
        b"o": b"\x01" + b"".join(n.to_bytes(8, "big") for n in (42, 1_763_800_100_000, 2_000, 1_763_800_101_000)),
    }
    table = new_table()
    for key, value in recorded.items():
        table.restore(key, value)
    table.settle()
    assert table.next_offset == 42
    assert (table.clock.w, table.clock.lag, table.clock.floor) == (1_763_800_100_000, 2_000, 1_763_800_101_000)
    changes = table.take(now=1_763_800_103_000, seconds=0, most=1)
    window = as_dict(changes.live[0], WINDOWS)["windows"][0]
    assert {name: value for name, value in window.items() if value and name in COUNTS} == {
        "attempts": 1, "answered": 1, "inbound_attempts": 1, "inbound_answered": 1, "talk_ms": 90_000,
        "flows": 1, "flows_reached": 1,
    }  # fmt: skip
    again = Log()
    add(table, flow(random.Random(1), "+912243692987", 1_763_800_100_000))
    assert changes.changelog[-1][0] == b"o"
    again.flush(table, now=1_763_800_104_000)
    assert again.state.keys() == recorded.keys()
