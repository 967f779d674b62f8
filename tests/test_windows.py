"""windows: rolling sums equal a sum over all flows at any time."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.bucket import LIMIT, MINUTE_MS, Bucket
from streams.windows import Flow, Rolling

LENGTHS = (5, 60, 1440)
MINUTES = st.one_of(st.integers(0, 20), st.integers(0, 200), st.integers(0, 4000))


def add(rolling: Rolling, minute: int, event_id: bytes, counts: int) -> tuple[int, Bucket]:
    """Count a flow of that minute of which nothing else is known."""
    rolling.admit(minute, event_id)
    flow = Flow("", event_id, minute * MINUTE_MS, counts, 0, False, [], [])
    return rolling.add(minute, flow)[:2]


@given(st.lists(st.tuples(MINUTES, MINUTES, st.integers(1, 9))))
def test_rolling_sums_are_a_sum_over_all_flows(steps: list[tuple[int, int, int]]) -> None:
    """Each step goes on by some minutes, then adds a flow that is some minutes old."""
    rolling, flows, now = Rolling(0, LENGTHS), [], 0
    for number, (onward, age, counts) in enumerate(steps):
        now += onward
        rolling.advance(now)
        if age < LENGTHS[-1]:
            add(rolling, now - age, number.to_bytes(16, "big"), counts)
            flows.append((now - age, number, counts))
        assert rolling.sums == [sum(c for minute, _, c in flows if now - length < minute <= now) for length in LENGTHS]
    held = {number for minute, number, _ in flows if now - LENGTHS[-1] < minute}
    assert held == {number for number in range(len(steps)) if not rolling.admit(now, number.to_bytes(16, "big"))}


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 9)), min_size=1), st.integers(0, 300))
def test_settling_a_restored_did_gives_what_was(flows: list[tuple[int, int]], onward: int) -> None:
    lived = Rolling(100, LENGTHS)
    for number, (age, counts) in enumerate(flows):
        add(lived, 100 - age, number.to_bytes(16, "big"), counts)
    lived.advance(100 + onward)
    restored = Rolling(100 + onward, LENGTHS)
    for place, bucket in reversed(lived.buckets.items()):
        restored.buckets[place] = packed(bucket)
    assert restored.settle() == []
    assert restored.sums == lived.sums
    assert {place: packed(bucket) for place, bucket in lived.buckets.items()} == restored.buckets
    for number, (age, _) in enumerate(flows):
        new = restored.admit(100 - age, number.to_bytes(16, "big"))
        assert new == lived.admit(100 - age, number.to_bytes(16, "big")) == (onward + age >= LENGTHS[-1])


def packed(bucket: Bucket | bytes) -> bytes:
    return bucket if isinstance(bucket, bytes) else bucket.pack()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 99)), max_size=300), st.data())
def test_ids_are_held_as_long_as_their_buckets(flows: list[tuple[int, int]], data: st.DataObject) -> None:
    """Packed or not, in its own minute or another; ids that share their first half are told apart."""
    rolling, held = Rolling(0, (4,)), {}
    for minute, number in flows:
        event_id = (number % 3).to_bytes(8, "big") + number.to_bytes(8, "big")
        assert rolling.admit(data.draw(st.sampled_from((minute, 3))), event_id) == (event_id not in held)
        if event_id not in held:
            held[event_id] = minute
            place, bucket = add(rolling, minute, event_id, 1)
            if number % 2:
                rolling.buckets[place] = bucket.pack()
    rolling.advance(5)
    assert rolling.sums == [sum(minute > 1 for minute in held.values())]
    assert [id_ for id_ in held if not rolling.admit(3, id_)] == [id_ for id_, minute in held.items() if minute > 1]


def test_time_going_back_changes_nothing() -> None:
    rolling = Rolling(10, (5,))
    add(rolling, 10, bytes(16), 1)
    assert rolling.advance(9) == []
    assert (rolling.minute, rolling.sums) == (10, [1])


def test_a_busy_minute_has_several_buckets_that_leave_together() -> None:
    rolling = Rolling(0, (5,))
    places = [add(rolling, 0, n.to_bytes(16, "big"), 1)[0] for n in range(600)]
    assert [len(bucket.each_id()) for bucket in rolling.buckets.values() if isinstance(bucket, Bucket)] == [
        256,
        256,
        88,
    ]
    assert set(places) == {0, 1, 2}
    rolling.buckets = {place: packed(bucket) for place, bucket in rolling.buckets.items()}
    assert add(rolling, 0, b"another one, yes", 1)[0] == 2
    assert rolling.advance(5) == [0, 1, 2]
    assert (rolling.sums, rolling.buckets) == ([0], {})
    assert rolling.admit(0, bytes(16))


def busy_minute(buckets: int) -> Rolling:
    """A DID whose minute has so many full buckets, all packed; one caller made all its calls."""
    rolling, rng = Rolling(0, (5,)), random.Random(1)
    for n in range(buckets * LIMIT):
        flow = Flow("", rng.randbytes(16), n, 1, 7, False, [], [])
        assert rolling.admit(0, flow.event_id)
        rolling.add(0, flow)
    rolling.buckets = {place: packed(bucket) for place, bucket in rolling.buckets.items()}
    return rolling


def test_a_flow_that_comes_again_opens_the_bucket_that_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy DID's calls delivered again, thousands in a turn, must not each unpack half a minute."""
    rolling, opened = busy_minute(20), list[bytes]()
    unpack = Bucket.unpack

    def noting(data: bytes) -> Bucket:
        opened.append(data)
        return unpack(data)

    monkeypatch.setattr(Bucket, "unpack", noting)
    last = unpack(packed(rolling.buckets[19])).each_id()[0]
    assert not rolling.admit(0, last)
    assert opened == [rolling.buckets[19]]


def test_what_a_call_changes_of_the_one_before_is_in_the_bucket_that_is_open() -> None:
    """Not in the first of a minute's: that would be written anew each time, and all between stay unpacked."""
    rolling = busy_minute(3)
    _, _, changes = rolling.add(0, Flow("", bytes(16), 3 * LIMIT, 1, 7, False, [], []))
    assert [rolling.change(0, change)[0] for _, change in changes] == [3, 3, 3]
    assert [place for place, bucket in rolling.buckets.items() if isinstance(bucket, Bucket)] == [3]
