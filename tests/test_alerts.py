"""alerts: what a table tells of its DIDs equals a naive walk from minute to minute, whatever crashes in between."""

import random
from bisect import bisect_left
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import decode
from schemas.settings import Window
from streams import told
from streams.alerts import FIRING, NOTHING, PENDING, QUIET, RESOLVED, Alert, Episode, step
from streams.profile import Profile
from streams.rules import read_rules
from streams.table import Table
from tests.counted import counted
from tests.flow_oracle import Record, flow
from tests.recount import recount

MINUTE = 60_000
DAY = 24 * 60  # minutes
START = 30_000 * 60  # minutes, a whole hour
WINDOWS = (Window("5m", 300), Window("1h", 3600))
SPANS = (("5m", 300), ("1h", 3600))
RULES = """
[[rule]]
name = "answer rate"
metric = "answer_seizure_ratio"
window = "5m"
below = 0.5
least = 2
for = "3m"
keep = "2m"
quiet = "7m"

[[rule]]
name = "busy"
metric = "busy"
window = "1h"
above = 1
dids = ["A", "B"]

[[rule]]
name = "few"
metric = "flows"
window = "5m"
below = 2
for = "4m"
"""


class Run:
    """A table with its log, its alerts, and a clock in ms."""

    def __init__(self, rules: str = RULES, windows: tuple[Window, ...] = WINDOWS) -> None:
        self.rules = read_rules(rules, windows)
        self.windows = windows
        self.state: dict[bytes, bytes | None] = {}
        self.log: list[tuple[bytes, bytes | None]] = []
        self.alerts: list[Alert] = []
        self.table = self.new()
        self.seconds = 0.0

    def new(self) -> Table:
        return Table([window.seconds // 60 for window in self.windows], self.rules)

    def add(self, record: Record) -> None:
        at = record["occurred_at"]
        self.table.add(counted(record), timestamp=at, now=at)

    def flush(self, now: int) -> None:
        self.seconds += 10
        self.table.roll(now=now, most=1000)
        changes = self.table.take(now=now, seconds=self.seconds, most=1000)
        self.log += changes.changelog
        self.state.update(changes.changelog)
        self.alerts += changes.alerts

    def crash(self) -> None:
        """Begin anew from the log, of which nothing was compacted yet."""
        self.table = self.new()
        for key, value in self.log:
            self.table.restore(key, value)
        self.table.settle()

    def pass_until(self, now: int, step: int = MINUTE) -> None:
        at = (self.table.clock.floor or now) + step
        while at < now:
            self.flush(at)
            at += step
        self.flush(now)


class Naive:
    """One rule and one DID, a look a minute."""

    def __init__(self, name: str, hold: int, keep: int, quiet: int) -> None:
        self.name, self.hold, self.keep, self.quiet = name, hold, keep, quiet
        self.since: int | None = None
        self.firing, self.silent_until, self.held_at = False, 0, 0

    def look(self, minute: int, holds: bool) -> Iterator[tuple[str, str, int, int]]:
        if holds:
            self.held_at = minute
        if self.firing and minute - self.held_at > self.keep:
            yield from self.over(minute)
        elif not holds and not self.firing:
            self.since = None
        elif not self.firing and minute >= self.silent_until:
            self.since = minute if self.since is None else self.since
            self.firing = minute >= self.since + self.hold
            if self.firing:
                yield self.name, FIRING, self.since, minute

    def over(self, minute: int) -> Iterator[tuple[str, str, int, int]]:
        if self.firing:
            yield self.name, RESOLVED, self.since or 0, minute
            self.since, self.firing, self.silent_until = None, False, minute + self.quiet


def naive(records: list[Record], until: int) -> Iterator[tuple[str, str, str, int, int]]:
    """Did, rule, state, since, as_of of every alert, from the contract's recount alone."""
    for did in {record["did"] for record in records}:
        own = [record for record in records if record["did"] == did]
        minutes = {record["occurred_at"] // MINUTE for record in own}
        rules: tuple[Naive, ...] = ()
        for minute in range(min(minutes) + 1, until + 1):
            if minute - 1 in minutes and not rules:
                rules = Naive("answer rate", 3, 2, 7), Naive("busy", 0, 0, 0), Naive("few", 4, 0, 0)
            short, hour = recount(own, did, minute * MINUTE - 1, SPANS)
            gone = minutes.isdisjoint(range(minute - 59, minute))
            rate = short["answer_seizure_ratio"]
            looks = (
                rate is not None and rate < 0.5 and short["attempts"] >= 2,
                hour["busy"] > 1 and did in "AB",
                short["flows"] < 2,
            )
            for rule, holds in zip(rules, looks, strict=bool(rules)):
                for alert in (*rule.look(minute, holds), *(rule.over(minute) if gone else ())):
                    yield did, *alert
            rules = () if gone else rules


def found(alerts: list[Alert]) -> list[tuple[str, str, str, int, int]]:
    return sorted((one.did, one.rule, one.state, one.episode.minute, one.as_of) for one in alerts)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 80), st.booleans())
def test_each_episode_is_told_once_whatever_crashes(seed: int, number: int, crashing: bool) -> None:
    """Flows in the order of their times, flushed now and then; a crash goes back to the last flush."""
    rng = random.Random(seed)
    spread = rng.choice((20, 200)) * MINUTE
    times = sorted(START * MINUTE + rng.randrange(spread) for _ in range(number))
    records = [flow(rng, rng.choice("ABC"), at) for at in times]
    run, at, flushed = Run(), 0, 0
    while at < number:
        run.add(records[at])
        at += 1
        if rng.random() < 0.4:
            run.flush(records[at - 1]["occurred_at"])
            flushed = at
        if crashing and rng.random() < 0.2:
            run.crash()
            at = flushed
    end = times[-1] + 90 * MINUTE
    step = rng.choice((MINUTE, 13 * MINUTE, 89 * MINUTE))
    run.pass_until(end, step)
    run.flush(end)
    run.flush(end)
    assert found(run.alerts) == sorted(naive(records, end // MINUTE))
    assert not run.table.dids
    assert not run.table.alerts.firing()
    assert not [key for key, value in run.state.items() if key[:1] == b"a" and value is not None]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.booleans())
def test_an_alert_is_told_in_its_minute_though_no_flow_comes(seed: int, number: int, crashing: bool) -> None:
    """What time alone changes, or ends, is looked at when it does: also by who has only just taken over."""
    rng = random.Random(seed)
    times = sorted(START * MINUTE + rng.randrange(20 * MINUTE) for _ in range(number))
    run = Run(RULES + '\n[[rule]]\nname = "fewer"\nmetric = "flows"\nwindow = "5m"\nbelow = 2\n')
    for at in times:
        run.add(flow(rng, rng.choice("AB"), at))
    run.flush(times[-1])
    if crashing:
        run.crash()
    last = times[-1] // MINUTE
    for minute in range(last + 1, last + 70):
        before = len(run.alerts)
        run.flush(minute * MINUTE)
        assert {one.as_of for one in run.alerts[before:]} <= {minute}


def test_the_record_says_what_was_seen() -> None:
    run = Run()
    rng = random.Random(1)
    for n in range(3):
        record = flow(rng, "A", START * MINUTE + n)
        leg = {"role": "VISITOR", "direction": "INBOUND", "answered": False, "disposition": "BUSY", "ring_ms": None,
               "talk_ms": None}  # fmt: skip
        run.add(record | {"legs": [leg], "reached": False, "agent_reached": False})
    run.pass_until((START + 4) * MINUTE)
    records = [decode(told.value(alert))[1] for alert in run.alerts]
    busy, rate = sorted(records, key=lambda record: str(record["rule"]), reverse=True)
    assert rate == {
        "alert_id": "801fa692-b254-5d80-a609-7d218565cbc8",  # of rule, DID and minute: the same for ever
        "rule": "answer rate", "did": "A", "group": None, "metric": "answer_seizure_ratio", "window": "5m",
        "value": 0.0, "n": 3, "threshold": 0.5, "state": "FIRING",
        "since": (START + 1) * MINUTE, "as_of": (START + 4) * MINUTE,
    }  # fmt: skip
    assert (busy["rule"], busy["value"], busy["since"]) == ("busy", 3.0, (START + 1) * MINUTE)
    assert dict(told.headers(run.alerts[1]))["ce_id"] == f"{rate['alert_id']}:FIRING".encode()


def test_a_rule_that_is_taken_out_is_over() -> None:
    run = Run()
    for n in range(3):
        record = flow(random.Random(n), "A", START * MINUTE)
        run.add(record | {"legs": [], "reached": False, "agent_reached": False})
    run.pass_until((START + 11) * MINUTE)
    assert [(one.rule, one.state) for one in run.alerts] == [("few", FIRING)]
    run.rules = read_rules("", WINDOWS)
    run.crash()
    run.flush((START + 12) * MINUTE)
    last = told.as_dict(run.alerts[-1])
    assert (last["rule"], last["state"], last["metric"], last["value"]) == ("few", RESOLVED, "flows", None)
    assert told.as_dict(run.alerts[0])["alert_id"] == last["alert_id"]
    run.crash()
    run.flush((START + 13) * MINUTE)
    assert len(run.alerts) == 2


OTHERWISE = '[[rule]]\nname = "many"\nmetric = "{}"\nwindow = "{}"\nabove = 1\n'


@pytest.mark.parametrize(("metric", "window"), [("busy", "1h"), ("flows", "5m")])
def test_a_rule_that_looks_at_something_else_under_its_old_name_is_another_one(metric: str, window: str) -> None:
    """Its alert went on, and its end told the value of one thing as that of another."""
    run = Run(OTHERWISE.format("flows", "1h"))
    for n in range(3):
        run.add(flow(random.Random(n), "A", START * MINUTE))
    run.pass_until((START + 7) * MINUTE)
    run.rules = read_rules(OTHERWISE.format(metric, window), WINDOWS)
    run.crash()
    run.flush((START + 8) * MINUTE)
    assert [(one.state, one.seen) for one in run.alerts[1:]] == [(RESOLVED, NOTHING)]


@pytest.mark.parametrize(
    ("longest", "jump"), [("1h", 16 * DAY * MINUTE), ("30d", MINUTE * 60)], ids=["at once", "in a window of 30 days"]
)
def test_fifteen_quiet_days_end_an_alert_when_its_window_is_empty_and_begin_none(longest: str, jump: int) -> None:
    """What is kept for two weeks was dropped also where it was still to be looked at, so the alert fired once more."""
    minutes = int(longest[:-1]) * (60 if longest == "1h" else DAY)
    run = Run(OTHERWISE.format("flows", longest), (Window("5m", 300), Window(longest, minutes * 60)))
    for n in range(3):
        run.add(flow(random.Random(n), "A", START * MINUTE))
    run.flush((START + 1) * MINUTE)
    run.pass_until((START + 31 * DAY) * MINUTE, jump)
    assert found(run.alerts) == [
        ("A", "many", FIRING, START + 1, START + 1),
        ("A", "many", RESOLVED, START + 1, START + minutes),
    ]


def test_what_is_usual_is_not_kept_without_a_rule_about_it() -> None:
    run = silent_run(range(0, 180))
    run.flush((START + 180) * MINUTE)
    assert run.state[b"aA"]
    run.rules = read_rules("", run.windows)
    run.crash()
    run.flush((START + 181) * MINUTE)
    assert run.state[b"aA"] is None


SILENCE = '[[rule]]\nkind = "silence"\nname = "silent"\nexpected = 10\n'


def calls(minutes: range, every: int = 2) -> list[Record]:
    """A flow every so many minutes."""
    rng = random.Random(minutes.start)
    return [flow(rng, "A", (START + minute) * MINUTE) for minute in minutes[::every]]


def silent_run(*spans: range, windows: tuple[Window, ...] = (*WINDOWS, Window("24h", 86_400))) -> Run:
    run = Run(SILENCE, windows)
    for record in [record for span in spans for record in calls(span)]:
        run.pass_until(record["occurred_at"] - MINUTE)
        run.add(record)
    return run


def naive_silence(minutes: list[int], until: int, rule: Naive) -> Iterator[tuple[str, str, int, int]]:
    """Alerts of the rule that three flows are missing, by a look a minute at what is usual."""
    profile = Profile()
    for minute in range(minutes[0] + 1, until + 1):
        newest = minutes[bisect_left(minutes, minute) - 1]
        if minute % 60 == 0:
            profile.brought(minute // 60 - 1, bisect_left(minutes, minute) - bisect_left(minutes, minute - 60))
        goes_on = rule.since is not None and newest < rule.since
        yield from rule.look(minute, goes_on or profile.expected(newest, minute) >= 3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_silences_equal_a_look_a_minute(seed: int, crashing: bool) -> None:
    """Three or four days of one DID with breaks of up to some hours, flushed now and then."""
    rng = random.Random(seed)
    hold, keep, quiet = (rng.choice(spans) for spans in ((0, 4), (0, 3), (0, 50)))
    run = Run(
        f'[[rule]]\nkind="silence"\nname="s"\nexpected=3\nfor="{hold}m"\nkeep="{keep}m"\nquiet="{quiet}m"\n',
        (*WINDOWS, Window("24h", 86_400)),
    )
    at, times = START, list[int]()
    while at < START + 4 * DAY:
        times.append(at)
        at += rng.choice((0, 1, 2, 5, 9)) if rng.random() < 0.97 else rng.randrange(600)
    for minute in times:
        run.add(flow(rng, "A", minute * MINUTE))
        if rng.random() < 0.2:
            run.flush(minute * MINUTE)
            if crashing and rng.random() < 0.2:
                run.crash()
    end = times[-1] + 700
    run.pass_until(end * MINUTE, rng.choice((MINUTE, 13 * MINUTE, 300 * MINUTE)))
    assert found(run.alerts) == sorted(
        ("A", *alert) for alert in naive_silence(times, end, Naive("s", hold, keep, quiet))
    )


def test_a_silence_is_told_when_ten_calls_are_missing_and_over_with_the_next() -> None:
    """30 calls an hour from 0:00 to 12:00, and on the second day to 10:30, when it falls silent for an hour."""
    run = silent_run(range(0, DAY // 2), range(DAY, DAY + 630), range(DAY + 690, DAY + 700))
    run.pass_until((START + DAY + 700) * MINUTE)
    first, last = run.alerts
    assert (first.state, first.as_of - START - (DAY + 629), first.seen.threshold) == (FIRING, 20, 10.0)
    assert (last.state, last.as_of - START) == (RESOLVED, DAY + 691)


def test_a_quiet_hour_is_no_silence() -> None:
    """Busy by day, nothing by night, two days and then a third."""
    run = silent_run(*(range(day * DAY + 540, day * DAY + 1080) for day in range(3)))
    assert [alert.as_of - START for alert in run.alerts if alert.state == FIRING] == []


def test_what_is_usual_outlives_a_weekend_and_a_crash() -> None:
    run = silent_run(range(0, 1080))
    run.pass_until((START + 3 * DAY) * MINUTE, 30 * MINUTE)
    assert not run.table.dids
    run.crash()
    for record in calls(range(3 * DAY, 3 * DAY + 60)):
        run.pass_until(record["occurred_at"] - MINUTE)
        run.add(record)
    assert [alert.state for alert in run.alerts] == [FIRING, RESOLVED]
    assert run.alerts[1].as_of == START + 3 * DAY + 1


@pytest.mark.parametrize(("minutes", "told"), [(60, 2), (2, 0)], ids=["in a silence that was told", "of one call"])
def test_what_is_usual_is_forgotten_after_two_weeks(minutes: int, told: int) -> None:
    run = silent_run(range(minutes))
    run.pass_until((START + 120) * MINUTE)
    assert [key for key, value in run.state.items() if key[:1] == b"a" and value is not None]
    run.pass_until((START + 16 * DAY) * MINUTE, DAY * MINUTE)
    assert len(run.alerts) == told
    assert not [key for key, value in run.state.items() if key[:1] == b"a" and value is not None]


PATIENT = read_rules(
    '[[rule]]\nname = "r"\nmetric = "busy"\nwindow = "5m"\nabove = 1\nfor = "5m"\nkeep = "3m"\nquiet = "10m"\n', WINDOWS
).rules[0]
Where = tuple[str, int] | tuple[str, int, int] | None


def episode(where: Where) -> Episode | None:
    return None if where is None else Episode(where[0], where[1], "busy", "5m", *where[2:])


@pytest.mark.parametrize(
    ("was", "holds", "first", "last", "then", "told"),
    [
        (None, False, 10, 99, None, None),
        (None, True, 10, 14, (PENDING, 10), None),
        (None, True, 10, 15, (FIRING, 10), (FIRING, 15)),
        ((PENDING, 10), True, 11, 14, (PENDING, 10), None),
        ((PENDING, 10), True, 12, 20, (FIRING, 10), (FIRING, 15)),
        ((PENDING, 10), True, 18, 20, (FIRING, 10), (FIRING, 18)),
        ((PENDING, 10), False, 11, 99, None, None),
        ((FIRING, 10), True, 16, 99, (FIRING, 10), None),
        ((FIRING, 10), False, 20, 22, (FIRING, 10, 20), None),
        ((FIRING, 10, 20), True, 21, 21, (FIRING, 10), None),
        ((FIRING, 10, 20), False, 21, 22, (FIRING, 10, 20), None),
        ((FIRING, 10, 20), False, 21, 23, (QUIET, 33), (RESOLVED, 23)),
        ((FIRING, 10, 20), False, 25, 26, (QUIET, 33), (RESOLVED, 25)),
        ((FIRING, 10), False, 20, 32, (QUIET, 33), (RESOLVED, 23)),
        ((FIRING, 10), False, 20, 33, None, (RESOLVED, 23)),
        ((QUIET, 33), True, 24, 32, (QUIET, 33), None),
        ((QUIET, 33), False, 24, 33, None, None),
        ((QUIET, 33), True, 24, 33, (PENDING, 33), None),
        ((QUIET, 33), True, 24, 38, (FIRING, 33), (FIRING, 38)),
        ((QUIET, 33), True, 35, 39, (PENDING, 35), None),
    ],
)
def test_where_a_rule_stands_minute_by_minute(
    was: Where, holds: bool, first: int, last: int, then: Where, told: tuple[str, int] | None
) -> None:
    """For 5 minutes it must hold until it fires, for 3 not until it is over, and for 10 more it says nothing."""
    now, heard = step(PATIENT, episode(was), NOTHING._replace(holds=holds), first, last)
    assert (now, heard and heard[1:]) == (episode(then), told)
    if heard:
        assert heard[0].minute == (10 if was is None or was[0] != QUIET else 33)
