"""histogram: percentiles are within the stated error of the exact ones, and histograms merge by addition."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.histogram import (
    EDGES,
    ERROR,
    FIRST_MS,
    KINDS,
    LAST_MS,
    MIDDLES,
    PERCENTILES,
    percentiles,
    tallied,
)
from tests.did_metrics import bins, number

MS = st.integers(0, 20_000) | st.integers(0, 4 * 3_600_000)


def exact(values: list[int], percent: int) -> int:
    """Nearest rank, by the definition."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


@given(st.lists(MS, min_size=1, max_size=200), st.sampled_from(KINDS))
def test_percentiles_are_within_the_error(values: list[int], kind: str) -> None:
    held = bins(Counter(number(kind, ms) for ms in values).items())[kind]
    assert sum(calls for _, calls in held) == len(values)
    for percent, found in zip(PERCENTILES, percentiles(held), strict=True):
        true = exact(values, percent)
        if true >= LAST_MS:
            assert found == LAST_MS
        else:
            assert abs(found - true) <= max(true * 0.05, FIRST_MS / 2)


@given(st.lists(st.tuples(st.sampled_from(KINDS), MS), max_size=60), st.integers(0, 60))
def test_histograms_add_up_and_leave_again(calls: list[tuple[str, int]], cut: int) -> None:
    some, others = (Counter(number(kind, ms) for kind, ms in part) for part in (calls[:cut], calls[cut:]))
    together = bins((some + others).items())
    assert together == bins(Counter(number(kind, ms) for kind, ms in calls).items())
    assert bins((some + others - others).items()) == bins(some.items())
    assert dict(tallied(together)) == some + others


def test_a_time_that_is_no_bins_is_refused() -> None:
    with pytest.raises(ValueError, match="no bin of ours: 101"):
        tallied({"talk": [(101, 1)]})


def test_the_scale() -> None:
    assert ERROR < 0.0431
    assert len(MIDDLES) == 128
    assert pytest.approx(2.9 * 3_600_000, rel=0.02) == LAST_MS
    assert list(MIDDLES) == sorted(set(MIDDLES))
    assert all(
        abs(MIDDLES[n + 1] - ms) <= 0.05 * ms for n, edge in enumerate(EDGES[:-1]) for ms in (edge, EDGES[n + 1])
    )
    assert percentiles([]) == []
