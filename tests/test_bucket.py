"""bucket: survives packing, refuses what it did not pack, and is read as older versions wrote it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery import MOST_ROWS
from streams.bucket import LIMIT, MINUTE_MS, NUMBERS_LIMIT, VERSION, Bucket
from streams.metrics import COUNTS, joined
from tests.did_metrics import number

SMALL = (
    "0300020000000000000000000000000000000000000000000000000000000000000001010000000000700000000000000000"
    "00000000000000000000007017000000000000040404000102030405060708090a0b0c0d0e0f101112131415161718191a1b"
    "1c1d1e1f0700000000000000b90b0000000000000700000000000000bed40100000000004700022090940d0000000000a0bb"
    "0d0000000000"
)
LARGE = (
    "03012c0100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000010000000000000001000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000701700000000000000000000000000000000000000000000000000000000000004040400"
    "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0700000000000000b90b000000000000070000"
    "0000000000bed40100000000004700022090940d0000000000a0bb0d0000000000"
)
COUNTED = st.lists(st.integers(0, 2**62), min_size=len(COUNTS), max_size=len(COUNTS)).map(lambda v: joined(tuple(v)))
CALLS = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2 * MINUTE_MS - 1))
MOMENTS = st.integers(-(2**63), 2**63 - 1)
BUCKETS = st.builds(
    Bucket,
    COUNTED | st.lists(st.integers(0, 300), min_size=len(COUNTS), max_size=len(COUNTS)).map(joined),
    st.lists(st.binary(min_size=16, max_size=16), max_size=5).map(b"".join),
    st.lists(CALLS, max_size=5).map(lambda calls: [number for call in calls for number in call]),
    st.lists(st.tuples(MOMENTS, MOMENTS), max_size=5).map(lambda legs: [at for leg in legs for at in leg]),
    st.lists(st.integers(0, 2**16 - 1), max_size=9),
)


def held(bucket: Bucket) -> tuple[object, ...]:
    return bucket.counts, bucket.ids, bucket.calls, bucket.legs, bucket.tallies


@given(BUCKETS)
def test_unpack_undoes_pack(bucket: Bucket) -> None:
    assert held(Bucket.unpack(bucket.pack())) == held(bucket)


@given(st.lists(CALLS, max_size=5), st.integers(0, 10**8))
def test_calls_are_told_as_they_were_put(calls: list[tuple[int, int]], minute: int) -> None:
    bucket = Bucket(calls=[number for call in calls for number in call])
    assert bucket.each_call(minute) == [(caller, (minute * MINUTE_MS << 1) + call) for caller, call in calls]


@given(st.binary(max_size=80))
def test_foreign_bytes_are_a_value_error_or_a_bucket(data: bytes) -> None:
    with suppress(ValueError):
        again = Bucket.unpack(data).pack()
        assert Bucket.unpack(again).pack() == again


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_cut_bucket_is_refused(cut: int) -> None:
    whole = Bucket(joined((300,) * len(COUNTS)), bytes(16), [1, 5]).pack()
    with pytest.raises(ValueError, match="cut short"):
        Bucket.unpack(whole[:-cut])


def test_a_later_version_is_refused() -> None:
    with pytest.raises(ValueError, match=f"version {VERSION + 1}"):
        Bucket.unpack(bytes([VERSION + 1]) + bytes(4))


def test_the_first_released_format_is_read() -> None:
    """A record written by version 1, kept as it was: 3 attempts, 1 answered, 90 s talk, one id."""
    recorded = bytes.fromhex("010602" + "00" * 12 + "a0fe0a" + "00" * 17 + "000102030405060708090a0b0c0d0e0f")
    bucket = Bucket.unpack(recorded)
    counts = dict(zip(COUNTS, [0] * len(COUNTS), strict=True)) | {"attempts": 3, "answered": 1, "talk_ms": 90_000}
    assert held(bucket) == held(Bucket(joined(tuple(counts.values())), bytes(range(16))))
    assert held(Bucket.unpack(bucket.pack())) == held(bucket)


def test_the_second_format_is_read() -> None:
    """As version 2 writes it: the same, with talks of 90 and of 30 s and a ring of 5 s in their bins."""
    packed = "020602" + "00" * 12 + "a0fe0a" + "00" * 17 + "78021802be010200"
    recorded = bytes.fromhex(packed) + bytes(range(16))
    counts = dict(zip(COUNTS, [0] * len(COUNTS), strict=True)) | {"attempts": 3, "answered": 1, "talk_ms": 90_000}
    bins = [number("talk", 30_000), number("talk", 90_000), number("ring", 5_000)]
    bucket = Bucket(joined(counts.values()), bytes(range(16)), tallies=bins)
    assert held(Bucket.unpack(recorded)) == held(bucket)
    assert held(Bucket.unpack(bucket.pack())) == held(bucket)


def test_the_third_format_is_read() -> None:
    """As version 3 writes it: 2 attempts of one caller, who chose 1 and left, 3 s in the menu; a talk, a leg."""
    counts = dict.fromkeys(COUNTS, 0) | {"attempts": 2, "callers": 1, "repeat_callers": 1, "first_key_ms": 6000}
    calls, tallies, legs = [7, 3001, 7, 119_998], [number("talk", 90_000), 8194], [890_000, 900_000]
    for attempts, recorded in ((2, SMALL), (300, LARGE)):
        total = joined((counts | {"attempts": attempts}).values())
        bucket = Bucket(total, bytes(range(32)), calls, legs, tallies)
        assert held(Bucket.unpack(bytes.fromhex(recorded))) == held(bucket)
        assert bucket.pack().hex() == recorded


def test_a_full_bucket_says_so() -> None:
    assert Bucket(0, bytes(16 * LIMIT)).full
    assert not Bucket(0, bytes(16 * (LIMIT - 1))).full
    assert Bucket(legs=[0] * (NUMBERS_LIMIT - 2), tallies=[0] * 2).full
    assert not Bucket(legs=[0] * (NUMBERS_LIMIT - 2), tallies=[0]).full


def test_a_bucket_is_never_larger_than_what_kafka_takes() -> None:
    """Nearly full, and then a flow with as many legs as a delivery has rows: start, end, talk and ring of each."""
    legs = [-(2**63)] * (NUMBERS_LIMIT - 1 + 2 * MOST_ROWS)
    bucket = Bucket(
        sum(1 << 63 + 64 * n for n in range(len(COUNTS))),
        bytes(16 * LIMIT),
        [2**63] * 2 * LIMIT,
        legs[:-1],
        [1] * 2 * MOST_ROWS,
    )
    assert len(bucket.pack()) < 1_048_588 - 1024  # message.max.bytes, less what a batch of one record is more
