"""clock: its law, whatever comes in whatever order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.clock import Clock

MS = st.integers(0, 20) | st.integers(0, 10**12)


class TestClock:
    """as_of = max(w, now - lag), and never back."""

    def test_is_unknown_before_the_first_record(self) -> None:
        assert Clock().as_of(1_000) is None

    def test_live_data_is_as_of_now_less_its_lag(self) -> None:
        clock = Clock()
        clock.see(10_000, 12_000)
        assert clock.as_of(60_000) == 58_000

    def test_a_replayed_past_is_as_of_its_own_time_and_moves_on(self) -> None:
        clock = Clock()
        clock.see(10_000, 1_000_000)
        assert clock.as_of(1_000_000) == 10_000
        assert clock.as_of(1_060_000) == 70_000

    def test_a_live_record_after_a_replay_brings_it_to_now(self) -> None:
        clock = Clock()
        clock.see(10_000, 1_000_000)
        clock.see(1_000_000, 1_002_000)
        assert clock.as_of(1_002_000) == 1_000_000

    def test_the_future_moves_it_there_where_it_waits(self) -> None:
        clock = Clock()
        clock.see(100_000, 40_000)
        assert clock.as_of(40_000) == 100_000
        assert clock.as_of(90_000) == 100_000
        assert clock.as_of(100_001) == 100_001

    def test_a_clock_set_back_does_not_move_it(self) -> None:
        clock = Clock()
        clock.see(10_000, 10_000)
        assert [clock.as_of(now) for now in (50_000, 20_000, 50_001)] == [50_000, 50_000, 50_001]

    def test_a_restart_keeps_w_lag_and_where_it_was(self) -> None:
        clock = Clock(w=10_000, lag=2_000, floor=40_000)
        assert clock.as_of(30_000) == 40_000
        assert clock.as_of(50_000) == 48_000

    @given(st.lists(st.tuples(*[st.integers(0, 10**12)] * 3), min_size=1))
    def test_never_goes_back(self, steps: list[tuple[int, int, int]]) -> None:
        clock, seen = Clock(), []
        for occurred_at, timestamp, now in steps:
            clock.see(occurred_at, timestamp)
            seen.append(clock.as_of(now))
        assert seen == sorted(seen, key=lambda as_of: as_of or 0)

    @given(st.lists(st.tuples(MS, MS, MS), min_size=1, max_size=12))
    def test_is_the_law_and_says_what_may_move_it(self, steps: list[tuple[int, int, int]]) -> None:
        clock, given_before = Clock(), -1
        for n, (occurred_at, timestamp, now) in enumerate(steps):
            before = [(at, got - at) for at, got, _ in steps[:n]]
            moved = clock.see(occurred_at, timestamp)
            seen = [*before, (occurred_at, timestamp - occurred_at)]
            w, lag = max(at for at, _ in seen), max(0, min(lag for _, lag in seen))
            assert (clock.w, clock.lag) == (w, lag)
            if not before or w > max(at for at, _ in before) or lag < min(lag for _, lag in before):
                assert moved is True
            elif timestamp - occurred_at >= max(0, min(lag for _, lag in before)):
                assert moved is False
            given_before = max(w, now - lag, given_before)
            assert clock.as_of(now) == given_before

    @pytest.mark.parametrize("lag", [0, 5_000])
    def test_lag_is_at_least_nothing(self, lag: int) -> None:
        clock = Clock()
        clock.see(10_000 - lag, 10_000)
        clock.see(20_000, 10_000)
        assert clock.lag == 0
