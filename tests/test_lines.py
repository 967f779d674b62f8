"""lines: peaks and means equal brute force over all legs, as minutes pass and legs come in any order."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.bucket import MINUTE_MS
from streams.lines import Busy, Lines

LENGTHS = (2, 5, 30)
SECOND = 1000
LEG = st.tuples(st.integers(0, 25), st.integers(0, 59), st.integers(-1, 900), st.integers(-5, 70))
STEPS = st.lists(st.tuples(st.sampled_from((0, 0, 1, 2, 4, 28, 40)), st.lists(LEG, max_size=5)), max_size=12)


def brute(up: list[tuple[int, int]], minute: int) -> list[Busy]:
    found = []
    for length in LENGTHS:
        begin = (minute - length + 1) * MINUTE_MS
        inside = [(max(start, begin), end) for start, end in up if end > begin and end > start]
        peak = max((sum(start <= at < end for start, end in inside) for at, _ in inside), default=0)
        found.append(Busy(peak, sum(end - start for start, end in inside)))
    return found


@settings(max_examples=300)
@given(st.sampled_from((100, -100)), STEPS)
def test_figures_are_brute_force_and_a_fresh_start_has_the_same(now: int, steps: list[tuple[int, list[Any]]]) -> None:
    """Each step goes on by minutes, then takes legs of flows some minutes old, long ones and impossible ones too."""
    up, noted = list[tuple[int, int]](), list[list[int]]()
    lines = Lines(now, LENGTHS)
    for onward, legs in steps:
        now += onward
        for age, second, seconds, beyond in legs:
            end = (now - age) * MINUTE_MS + second * SECOND
            start = end - seconds * SECOND
            end += beyond * SECOND
            end = min(end, (now - age + 1) * MINUTE_MS)
            noted.append([start, end])
            lines.note(noted[-1])
            up.append((start, end))
        if lines.outdated(now):
            lines = fresh(now, noted)
        assert lines.at(now) == brute(up, now)
        again = fresh(now, noted)
        assert again.at(now) == brute(up, now)
        oldest = (now - LENGTHS[-1] + 1) * MINUTE_MS
        longest = max((end - start for start, end in up if end > oldest and end > start), default=0)
        if longest or not lines.outdated(now):
            assert (lines.longest_ms, again.longest_ms) == (longest, longest)


def fresh(minute: int, noted: list[list[int]]) -> Lines:
    lines = Lines(minute, LENGTHS)
    for legs in reversed(noted):
        lines.note(legs)
    return lines


def test_a_leg_that_ends_as_another_starts_is_not_up_with_it() -> None:
    lines = Lines(0, LENGTHS)
    lines.note([0, 10_000, 10_000, 20_000, 5_000, 6_000])
    assert lines.at(0) == [Busy(2, 21_000)] * 3


def test_what_ended_before_it_began_never_was_up() -> None:
    lines = Lines(0, LENGTHS)
    lines.note([-(10**15), 60_000, 1, 1, 2, 1])
    assert lines.at(0)[0] == Busy(1, 2 * MINUTE_MS)
    assert lines.longest_ms == 10**15 + 60_000
