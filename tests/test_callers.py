"""callers: whatever the order of calls, the counts of every minute are those of a naive walk over all calls."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import callers
from streams.callers import REPEAT_MS, Callers
from streams.metrics import COUNTS, lanes

TIMES = st.sampled_from(
    (-(10**12), 0, 1, 5, REPEAT_MS - 1, REPEAT_MS, REPEAT_MS + 1, 2 * REPEAT_MS, 2 * REPEAT_MS + 1, 10**8)
)
CALLS = st.lists(st.tuples(st.integers(1, 3), TIMES, st.booleans()), max_size=14)
Call = tuple[int, int, bool]


def naive(calls: list[Call], since: int = -(10**15)) -> dict[int, tuple[int, int, int]]:
    """Of every moment from `since` on: calls that are a caller's latest, latest but one, and contained."""
    found: dict[int, list[int]] = {}
    for caller in {caller for caller, _, _ in calls}:
        own = sorted((at, alone) for one, at, alone in calls if one == caller)
        for rank, (at, _) in enumerate(reversed(own[-2:])):
            found.setdefault(at, [0, 0, 0])[rank] += 1
        for n, (at, alone) in enumerate(own):
            others = [other for other, _ in own[:n] + own[n + 1 :]]
            contained = alone and not any(at <= other <= at + REPEAT_MS for other in others)
            found.setdefault(at, [0, 0, 0])[2] += contained
    return {at: (a, b, c) for at, (a, b, c) in found.items() if (a or b or c) and at >= since}


def told(changes: Counter[int]) -> dict[int, tuple[int, ...]]:
    places = [COUNTS.index(name) for name in ("callers", "repeat_callers", "flows_contained")]
    return {at: tuple(lanes(total)[place] for place in places) for at, total in changes.items() if total}


def count(counted: Counter[int], at: int, told: tuple[int, Sequence[tuple[int, int]]]) -> None:
    own, changes = told
    for when, counts in [(at, own), *changes]:
        counted[when] += counts


@given(CALLS, st.sampled_from((1, 3, callers.MOST)))
def test_counts_are_those_of_a_naive_walk(calls: list[Call], most: int) -> None:
    """In one part or several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callers, "MOST", most)
        held, counted = Callers(), Counter[int]()
        for n, (caller, at, alone) in enumerate(calls):
            count(counted, at, held.add(caller, at, alone))
            assert told(counted) == naive(calls[: n + 1])


@given(CALLS, CALLS, TIMES)
def test_what_is_forgotten_or_restored_goes_on_as_if_it_had_lived(
    calls: list[Call], more: list[Call], since: int
) -> None:
    """Older calls leave with their minutes; what is left is counted on as by those who never held them."""
    lived, counted = Callers(), Counter[int]()
    for caller, at, alone in calls:
        count(counted, at, lived.add(caller, at, alone))
    lived.forget(since, len([at for _, at, _ in calls if at < since]))
    left = [call for call in calls if call[1] >= since]
    restored = Callers()
    restored.restore((caller, at << 1 | alone) for caller, at, alone in left)
    later = [call for call in more if call[1] >= since]
    for caller, at, alone in later:
        changes = lived.add(caller, at, alone)
        assert restored.add(caller, at, alone) == changes
        count(counted, at, changes)
    assert told(Counter({at: total for at, total in counted.items() if at >= since})) == naive(left + later)


def test_a_call_costs_what_it_does_however_often_its_caller_has_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's switchboard shows one number for all: 50,000 calls of it took 2.4 ms each, and held the worker."""
    looked_at, changes, held = list[int](), callers._changes, Callers()

    def noting(before: list[int], call: int, place: int) -> tuple[int, list[tuple[int, int]]]:
        looked_at.append(len(before))
        return changes(before, call, place)

    monkeypatch.setattr(callers, "_changes", noting)
    for at in [*range(100), *range(99, 0, -7)]:
        held.add(1, at, True)
    assert len(looked_at) == 114
    assert max(looked_at) == 4
