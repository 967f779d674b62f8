"""gathered: groups and rankings equal a recount over the latest records, in whatever order these came."""

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import Undecodable, decode, encode, without_registry
from schemas.settings import Ranked, Window
from streams import latest, live, told
from streams.alerts import FIRING, RESOLVED, Alert
from streams.gathered import Gathered
from streams.groups import Groups
from streams.lines import Busy
from streams.live import NO_SPAN, Live, Span
from streams.metrics import COUNTS, joined, lanes
from streams.paths import LEFT, number
from streams.ranking import Ranking
from streams.rules import Rule, read_rules

MINUTE = 60_000
START = 30_000 * 60 * MINUTE
WINDOWS = (Window("5m", 300), Window("1h", 3600))
LENGTHS = (5, 60)
NAMES = ("group/a", "group/b", "campaign/c")
DIDS = tuple(f"+9122436000{n:02d}" for n in range(8))

ZERO = (0, 0)
amounts = st.sampled_from(((0,) * len(COUNTS), tuple(range(len(COUNTS))), (3, 1, *range(2, len(COUNTS)))))
spans = st.builds(
    lambda flows, legs_ms: Span([*flows.items()], Busy(3, legs_ms)),
    *(st.dictionaries(st.integers(1, 3), st.integers(1, 9)), st.integers(0, 10**6)),
)
records = st.builds(
    lambda minute, a, b, first, second, longest: Live(
        "", START + minute * MINUTE, (joined(a), joined(b)), (first, second), longest
    ),
    *(st.integers(0, 50), amounts, amounts, spans, spans, st.sampled_from((0, 90_000, 7_000))),
)
mappings = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from((*DIDS, "+91224360000?")), max_size=4))


def bare(as_of: int, sums: tuple[int, ...]) -> Live:
    """A record of which only the counts matter."""
    return Live("", as_of, sums, (NO_SPAN,) * len(sums), 0)


def recount(mapping: dict[str, list[str]], held: dict[str, Live]) -> dict[str, Any]:
    """What each group holds, count by count, from the latest records alone."""
    found = {}
    for name, entries in mapping.items():
        members = [
            one for did, one in held.items() if did in entries or ("+91224360000?" in entries and did[-2] == "0")
        ]
        if members:
            windows = [
                [sum(lanes(one.sums[w])[n] for one in members) for n in range(len(COUNTS))] for w in range(len(LENGTHS))
            ]
            menus = [
                sum([Counter(dict(one.spans[w].tallies)) for one in members], Counter()) for w in range(len(LENGTHS))
            ]
            legs = [Busy(None, sum(one.spans[w].busy.legs_ms for one in members)) for w in range(len(LENGTHS))]
            longest = max(one.longest_ms for one in members)
            found[name] = max(one.as_of for one in members), windows, menus, legs, longest
    return found


def as_counted(group: Live | None) -> Any:
    if group is None:
        return None
    menus, legs = [dict(span.tallies) for span in group.spans], [span.busy for span in group.spans]
    return group.as_of, [list(lanes(total)) for total in group.sums], menus, legs, group.longest_ms


@given(st.lists(st.tuples(st.sampled_from(DIDS), records | st.none())), mappings, mappings, st.randoms())
def test_groups_equal_a_recount_in_any_order_and_with_any_mapping(
    given: list[tuple[str, Live | None]],
    first: dict[str, list[str]],
    second: dict[str, list[str]],
    rng: random.Random,
) -> None:
    """Records of a DID in their order, those of several mixed; written now and then; then another mapping."""
    written: dict[str, Any] = {}
    held: dict[str, Live] = {}
    for mapping in (first, second):
        gathered = Gathered(LENGTHS, Groups(mapping))
        again = list(held)
        rng.shuffle(again)
        for did in again:
            gathered.put(did, held[did], START)
        gathered.settle(written, START)
        for did, record in given:
            gathered.put(did, record, START)
            if record is None:
                held.pop(did, None)
            else:
                held[did] = record
            if rng.random() < 0.3:
                written.update(gathered.take(START).groups)
        written.update(gathered.take(START).groups)
        found = {name: as_counted(group) for name, group in written.items() if group is not None}
        assert found == recount(mapping, held)
        assert gathered.take(START).groups == []


@given(st.dictionaries(st.sampled_from(DIDS), records), st.integers(1, 4), st.integers(0, 3))
def test_a_ranking_is_the_whole_list_sorted(held: dict[str, Live], number: int, least: int) -> None:
    ranking = Ranking(Ranked("answer_seizure_ratio", "1h", number, least), WINDOWS)
    gathered = Gathered(LENGTHS, Groups({}), rankings=[ranking])
    for did, record in [*((did, bare(0, (joined([9] * len(COUNTS)),) * 2)) for did in held), *held.items()]:
        gathered.put(did, record, START)
    values = [(did, counts[1] / counts[0], counts[0]) for did, one in held.items() if (counts := lanes(one.sums[1]))[0]]
    ranked = [one for one in values if one[2] >= least]
    ranked.sort(key=lambda one: one[0])
    best = sorted(ranked, key=lambda one: -one[1])[:number]
    worst = sorted(ranked, key=lambda one: one[1])[:number]
    for places in [places for _, places in gathered.ranked()]:
        assert (places.best, places.worst) == (best, worst)
    assert gathered.ranked() == []


def test_the_record_of_a_ranking_says_all() -> None:
    ranking = Ranking(Ranked("busy", "5m", 1, None), WINDOWS)
    gathered = Gathered(LENGTHS, Groups({}), rankings=[ranking])
    assert gathered.ranked() == []
    for n, did in enumerate(DIDS):
        gathered.put(did, bare(START + n, (joined([n] * len(COUNTS)), 0)), START)
    ((_, places),) = gathered.ranked()
    assert decode(ranking.value(places, gathered.as_of or 0)) == ("DidRanking", {
        "metric": "busy", "window": "5m", "least": 1, "as_of": START + 7,
        "best": [{"did": DIDS[7], "value": 7.0, "n": 7}], "worst": [{"did": DIDS[1], "value": 1.0, "n": 1}],
    })  # fmt: skip
    assert dict(ranking.headers(START))["ce_id"] == f"busy:5m@{START}".encode()
    with pytest.raises(ValueError, match="WindowMetrics has no 'bussy'"):
        Ranking(Ranked("bussy", "5m", 1, None), WINDOWS)


def test_a_record_is_read_back_by_window() -> None:
    """A window that it lacks counts as empty; what is no DidMetrics is refused."""
    sums = tuple(joined([n + w for n in range(len(COUNTS))]) for w in range(2))
    one, two = number(b"1"), number(b"1>2")
    held = (Span([(7, 4), (383, 1), (one, 3), (one | LEFT, 1)], Busy(2, 123_456)), Span([(two, 1)], Busy(0, 3_599_999)))
    told = Live("+912243600001", START, sums, held, 90_000)
    value = live.value(told, WINDOWS)
    assert latest.read(value, WINDOWS, without_registry) == told
    record = decode(value)[1]
    for window in record["windows"]:  # of a worker that did not tell these yet
        window |= {"mean_legs": None, "peak_legs": None, "menu": [], "talk_bins": [], "time_to_agent_bins": []}
    older = encode("DidMetrics", record | {"legs_settled_until": None})
    assert latest.read(older, WINDOWS, without_registry) == told._replace(spans=(NO_SPAN, NO_SPAN), longest_ms=0)
    other = (Window("1h", 3600), Window("5m", 301), Window("24h", 86_400))
    assert latest.read(value, other, without_registry) == told._replace(
        sums=(sums[1], 0, 0), spans=(held[1], NO_SPAN, NO_SPAN)
    )
    record = decode(value)[1]
    record["windows"][0]["busy"] = -1
    alert = {"alert_id": "", "rule": "", "metric": "", "state": "FIRING", "since": 0, "as_of": 0}
    for bad in (b"foreign", None, encode("DidMetrics", record), encode("DidAlert", alert | {
        "did": None, "group": None, "window": None, "value": None, "n": 0, "threshold": None,
    })):  # fmt: skip
        with pytest.raises(Undecodable):
            latest.read(bad, WINDOWS, without_registry)


RULES = """
[[rule]]
name = "busy group"
metric = "busy"
window = "5m"
above = 1
for = "3m"
keep = "2m"
groups = "group/*"
"""


class Watched:
    """Groups with a rule, their state as it is kept, and the alerts told."""

    def __init__(self) -> None:
        self.rules: tuple[Rule, ...] = read_rules(RULES, WINDOWS).groups
        self.log: list[tuple[str, bytes | None]] = []
        self.told: list[Alert] = []
        self.records: dict[str, Live] = {}
        self.mapping = {"group/a": [DIDS[0], DIDS[1]], "campaign/c": [DIDS[0]]}
        self.begin(START)

    def begin(self, now: int) -> None:
        self.gathered = Gathered(LENGTHS, Groups(self.mapping), rules=self.rules)
        for name, state in self.log:
            self.gathered.restore(name, state)
        for did, record in self.records.items():
            self.gathered.put(did, record, record.as_of + 500)
        self.gathered.settle((), now)

    def put(self, did: str, at: int, busy: int) -> None:
        total = joined([busy if name == "busy" else 0 for name in COUNTS])
        self.records[did] = bare(at, (total, total))
        self.gathered.put(did, self.records[did], at + 500)

    def take(self, now: int) -> None:
        together = self.gathered.take(now)
        self.log += together.state
        self.told += together.alerts

    def found(self) -> list[tuple[str, str, int, int]]:
        return [(one.did, one.state, one.episode.minute, one.as_of) for one in self.told]


@pytest.mark.parametrize("crashing", [False, True])
def test_a_group_rings_once_by_its_own_clock_though_nothing_is_written(crashing: bool) -> None:
    """Two DIDs with one busy call each make two; nothing else comes for an hour, but for their leaving the window."""
    run, first = Watched(), START // MINUTE
    run.put(DIDS[0], START, 1)
    run.put(DIDS[1], START + 1000, 1)
    for second in range(20 * 60):
        now = START + second * 1000
        if second == 5 * 60:
            run.put(DIDS[0], now, 0)
            run.put(DIDS[1], now, 1)
        run.take(now)
        if crashing and second % 20 == 7:
            run.begin(now)
    assert run.found() == [("group/a", FIRING, first + 1, first + 4), ("group/a", RESOLVED, first + 1, first + 8)]
    record = told.as_dict(run.told[0], of_group=True)
    assert (record["did"], record["group"], record["value"], record["n"]) == (None, "group/a", 2, 2)
    assert dict(run.log)["group/a"] is None


@pytest.mark.parametrize("how", ["the mapping", "the rule", "the figures", "the record"])
def test_what_is_gone_is_over(how: str) -> None:
    run, now = Watched(), START + 10 * MINUTE
    run.put(DIDS[0], START, 2)
    run.take(START)
    for minute in range(1, 10):
        run.take(START + minute * MINUTE)
    assert [state for _, state, *_ in run.found()] == [FIRING]
    if how == "the mapping":
        run.mapping = {"group/b": [DIDS[0]]}
    elif how == "the rule":
        run.rules = ()
    elif how == "the figures":
        run.put(DIDS[0], now, 0)
    else:
        run.gathered.put(DIDS[0], run.records.pop(DIDS[0]) and None, now)
    if how in ("the mapping", "the rule"):
        run.begin(now)
    run.take(now)
    assert [state for _, state, *_ in run.found()] == [FIRING, RESOLVED]
    assert run.told[1].as_of in (now // MINUTE - 1, now // MINUTE)
    run.begin(now)
    run.take(now)
    assert [(name, state) for name, state, *_ in run.found()] == [("group/a", FIRING), ("group/a", RESOLVED)]


def test_a_group_that_has_records_again_has_none_of_its_old_figures() -> None:
    run = Watched()
    run.put(DIDS[0], START, busy=2)
    run.take(START)
    run.gathered.put(DIDS[0], None, START)
    run.take(START)
    later = START + 10 * MINUTE
    run.put(DIDS[0], later, busy=0)
    run.take(later)
    assert run.found() == []


def test_a_groups_clock_is_as_late_as_its_records_are() -> None:
    run, late = Watched(), 3 * MINUTE
    busy = joined([2 if name == "busy" else 0 for name in COUNTS])
    run.gathered.put(DIDS[0], bare(START, (busy, busy)), START + late)
    told_at = []
    for minute in range(12):
        before = len(run.told)
        run.take(START + late + minute * MINUTE)
        told_at += [minute] * (len(run.told) - before)
    assert [one.as_of for one in run.told] == [START // MINUTE + minute for minute in told_at] != []


def test_a_group_of_which_nothing_is_left_has_no_low_figures() -> None:
    """As with a DID: what has no calls in any window is quiet, not bad. Only a silence tells of that."""
    run = Watched()
    run.rules = read_rules(
        '[[rule]]\nname = "few"\nmetric = "busy"\nwindow = "5m"\nbelow = 2\ngroups = "group/a"\n', WINDOWS
    ).groups
    run.begin(START)
    for minute in range(20):
        if minute in (0, 10):
            run.put(DIDS[0], START + minute * MINUTE, busy=minute // 10)
        run.take(START + minute * MINUTE)
    assert [(state, since - START // MINUTE) for _, state, since, _ in run.found()] == [(FIRING, 11)]
