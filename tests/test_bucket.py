"""bucket: a monoid under merge that survives packing, and refuses what it did not pack."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.bucket import LIMIT, VERSION, Bucket
from streams.histogram import KINDS, one
from streams.metrics import COUNTS, HISTOGRAMS, joined

COUNTED = st.lists(st.integers(0, 2**62), min_size=len(COUNTS), max_size=len(COUNTS)).map(lambda v: joined(tuple(v)))
TIMED = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2**24)), max_size=8)
HISTOGRAM = TIMED.map(lambda times: sum(one(kind, ms) for kind, ms in times) << HISTOGRAMS)
BUCKETS = st.builds(
    lambda counts, histogram, ids: Bucket(counts | histogram, ids),
    COUNTED,
    HISTOGRAM,
    st.lists(st.binary(min_size=16, max_size=16), max_size=5).map(b"".join),
)


@given(BUCKETS)
def test_unpack_undoes_pack(bucket: Bucket) -> None:
    assert Bucket.unpack(bucket.pack()) == bucket


@given(BUCKETS, BUCKETS, BUCKETS)
def test_merge_is_a_monoid(a: Bucket, b: Bucket, c: Bucket) -> None:
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert Bucket().merge(a) == a == a.merge(Bucket())
    assert a.merge(b).counts - b.counts == a.counts


@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 2**40))))
def test_adding_one_by_one_is_merging_buckets_of_one(flows: list[tuple[bytes, int]]) -> None:
    added, merged = Bucket(), Bucket()
    for event_id, counts in flows:
        added.add(event_id, counts)
        merged = merged.merge(Bucket(counts, event_id))
    assert added == merged
    assert added.each_id() == [event_id for event_id, _ in flows]


@given(st.binary(max_size=80))
def test_foreign_bytes_are_a_value_error_or_a_bucket(data: bytes) -> None:
    try:
        Bucket.unpack(data)
    except ValueError:
        pass


@pytest.mark.parametrize("cut", [n for n in range(1, 25) if n != 16])  # 16: a bucket with one id less
def test_a_cut_bucket_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="cut short"):
        Bucket.unpack(Bucket(joined((300,) * len(COUNTS)), bytes(16)).pack()[:-cut])


def test_a_later_version_is_refused() -> None:
    with pytest.raises(ValueError, match=f"version {VERSION + 1}"):
        Bucket.unpack(bytes([VERSION + 1]) + bytes(4))


def test_the_first_released_format_is_read() -> None:
    """A record written by version 1, kept as it was: 3 attempts, 1 answered, 90 s talk, one id."""
    recorded = bytes.fromhex("010602" + "00" * 12 + "a0fe0a" + "00" * 17 + "000102030405060708090a0b0c0d0e0f")
    bucket = Bucket.unpack(recorded)
    counts = dict(zip(COUNTS, [0] * len(COUNTS), strict=True)) | {"attempts": 3, "answered": 1, "talk_ms": 90_000}
    assert bucket == Bucket(joined(tuple(counts.values())), bytes(range(16)))
    assert Bucket.unpack(bucket.pack()) == bucket


def test_the_second_format_is_read() -> None:
    """As version 2 writes it: the same, with talks of 90 and of 30 s and a ring of 5 s in their bins."""
    packed = "020602" + "00" * 12 + "a0fe0a" + "00" * 17 + "78021802be010200"
    recorded = bytes.fromhex(packed) + bytes(range(16))
    counts = dict(zip(COUNTS, [0] * len(COUNTS), strict=True)) | {"attempts": 3, "answered": 1, "talk_ms": 90_000}
    histograms = one("talk", 90_000) + one("talk", 30_000) + one("ring", 5_000)
    bucket = Bucket(joined(tuple(counts.values())) + (histograms << HISTOGRAMS), bytes(range(16)))
    assert Bucket.unpack(recorded) == bucket
    assert bucket.pack() == recorded


def test_a_full_bucket_says_so() -> None:
    assert Bucket(0, bytes(16 * LIMIT)).full
    assert not Bucket(0, bytes(16 * (LIMIT - 1))).full
