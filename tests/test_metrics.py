"""metrics: what a flow adds and what ratios are, against the recount's independent reading of the contract."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import SCHEMAS
from streams.histogram import KINDS
from streams.metrics import COUNTS, PERCENTILES, RATIOS, joined, lanes
from tests.counted import counted
from tests.did_metrics import window_metrics
from tests.flow_oracle import flow
from tests.recount import recount

WINDOW_FIELDS = [f["name"] for f in SCHEMAS["DidMetrics"]["fields"][2]["type"]["items"]["fields"]]


def test_names_are_those_of_the_schema_in_its_order() -> None:
    """One list of counts, one of ratios, one of percentiles and histograms; the record has no other fields."""
    ratios, percentiles = [ratio.name for ratio in RATIOS], [*PERCENTILES]
    bins = [f"{kind}_bins" for kind in KINDS]
    beside = ["menu", "peak_legs", "mean_legs"]
    assert ["name", "seconds", "start", "end", *COUNTS, *ratios, *percentiles, *bins, *beside] == WINDOW_FIELDS


@given(st.integers(0, 2**32), st.integers(0, 20))
def test_counts_of_flows_are_the_recount(seed: int, number: int) -> None:
    rng = random.Random(seed)
    flows = [flow(rng, "+912243692987", 60_000 * 100) | {"caller": None} for _ in range(number)]
    read = [counted(record) for record in flows]
    tallies = Counter(number for one in read for number in one.tallies)
    window = window_metrics("5m", 300, 60_000 * 101, sum(one.counts for one in read), [*tallies.items()])
    [recounted] = recount(flows, "+912243692987", 60_000 * 100, [("5m", 300)])
    assert window == {name: recounted[name] for name in window}


@given(st.lists(st.integers(0, 2**63), min_size=len(COUNTS), max_size=len(COUNTS)))
def test_lanes_hold_any_counts(values: list[int]) -> None:
    assert lanes(joined(tuple(values))) == tuple(values)


def test_no_flows_give_zeros_and_no_ratios() -> None:
    window = window_metrics("1h", 3600, 7_200_000, 0, [])
    assert all(window[name] == 0 for name in COUNTS)
    assert all(window[ratio.name] is None for ratio in RATIOS)


@pytest.mark.parametrize(
    ("talk_ms", "short"),
    [(0, 1), (9_999, 1), (10_000, 0), (None, 0)],
    ids=["none", "just below", "at the limit", "unknown"],
)
def test_short_calls(talk_ms: int | None, short: int) -> None:
    record = flow(random.Random(0), "+912243692987", 0)
    leg = {"role": "VISITOR", "direction": "INBOUND", "disposition": "ANSWERED", "answered": True, "ring_ms": None}
    record["legs"] = [leg | {"talk_ms": talk_ms}]
    assert window_metrics("1h", 3600, 0, counted(record).counts, [])["short_calls"] == short
