"""Numbers, times and causes, held to what other libraries and the contract's lists say."""

import random
import re
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.telephony import DISPOSITIONS, Times, cause_code, course, e164, instant, is_valid, parsed

KOLKATA = ZoneInfo("Asia/Kolkata")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(2, 1, 1), datetime(9999, 12, 30)), OFFSETS, st.integers(0, 12))
def test_a_time_is_read_with_any_number_of_digits_and_any_offset(at: datetime, offset: timezone, digits: int) -> None:
    fraction = f"{at.microsecond:06}000000"[:digits]
    text = f"{at:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + (f".{fraction}" if digits else "")
    cut = at.replace(microsecond=int(fraction.ljust(6, "0")[:6] or 0), tzinfo=offset)
    expected = (cut - EPOCH) // timedelta(milliseconds=1)
    assert instant(text + cut.isoformat()[-6:], KOLKATA) == expected


@given(st.from_regex(r"(2022-11-29|20221129|2022-W48-2)[T :.0-9]{0,16}([+.:-][0-9:.]{0,8}|Z)?", fullmatch=True))
def test_what_only_looks_usual_is_read_as_python_reads_it(text: str) -> None:
    usual = re.sub(r" (?=[Z+-])", "", text.strip())  # blanks don't matter, and Python reads 24:00 from 3.14 on only
    begun = re.sub(r"(?<=[T ])24(?=(:?00){0,2}([.,]0+)?([Z+-]|$))", "00", usual)
    try:
        read = datetime.fromisoformat(begun) + timedelta(days=begun != usual)
    except ValueError:
        assert instant(text, UTC) is None
        return
    found = instant(text, UTC)
    assert found is None or found == (read.replace(tzinfo=read.tzinfo or UTC) - EPOCH) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (" 2022-11-29T23:49:00+05:30\n", "2022-11-29T18:19:00Z"),
        ("2022-11-29t18:19:00z", "2022-11-29T18:19:00Z"),
        ("2022-11-29T24:00+05:30", "2022-11-29T18:30:00Z"),
        ("20221231T240000.000Z", "2023-01-01T00:00:00Z"),
        ("2022-W48-2T18:19Z", "2022-11-29T18:19:00Z"),
    ],
)
def test_a_time_may_be_written_in_other_ways(text: str, same: str) -> None:
    assert instant(text, KOLKATA) == instant(same, KOLKATA) is not None


@pytest.mark.parametrize(
    "text",
    [
        "2022-11-29T23:49.5Z",  # 23:49:30; fromisoformat makes half a second of it
        "2022-11-29T23.5Z",
        "2022-11-29T23:49:00+05:60",
        "2022-11-29T23:49:00+05:30.5",
        "2022-11-29T23:49:00Z\0",
        "2022-11-29T24:00:01Z",
        "2022-11-29T23:59:60Z",
        "2022-11-29+05:30",
        "9999-12-31T24:00:00Z",
    ],
)
def test_what_could_be_misread_is_unreadable(text: str) -> None:
    assert instant(text, KOLKATA) is None


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ("0001-01-01T00:00:00+00:01", None),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999),
        ("9999-12-31T23:59:59.999-00:01", None),
    ],
)
def test_times_are_those_of_the_years_1_to_9999_in_utc(text: str, ms: int | None) -> None:
    assert instant(text, KOLKATA) == ms


def test_a_time_without_offset_is_in_the_given_zone() -> None:
    assert instant("2022-11-29T23:49:00", KOLKATA) == instant("2022-11-29T18:19:00Z", UTC)


@given(st.text())
def test_no_text_makes_a_time_fail(text: str) -> None:
    assert instant(text, KOLKATA) is None or text[:1].isdigit()


@pytest.mark.parametrize("sent", ["912243692987", "+912243692987", "00912243692987", "02243692987", "0912243692987"])
def test_all_spellings_of_a_did_are_one(sent: str) -> None:
    assert e164(sent, "IN") == "+912243692987"


@pytest.mark.parametrize("region", ["IN", "US", "GB", "SG", "AE"])
def test_the_example_numbers_of_every_region_keep_their_e164_form(region: str) -> None:
    for kind in phonenumbers.PhoneNumberType.values():
        example = phonenumbers.example_number_for_type(region, kind)
        if example and phonenumbers.is_valid_number(example):
            form = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            national = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
            assert e164(form, "IN") == form
            assert e164(national, region) == form


def test_indian_numbers_are_what_phonenumbers_makes_of_them() -> None:
    rng = random.Random(6)
    known = 0
    for _ in range(4_000):
        digits = str(rng.randrange(10**9, 10**10))
        for sent in (digits, *(prefix + digits for prefix in ("+91", "0091", "091", "91", "0"))):
            assert e164(sent, "IN") == parsed(sent, "IN")
        known += e164(digits, "IN") != digits
    assert known > 1_000  # of both kinds there were enough


@given(st.text())
def test_a_number_is_e164_or_the_trimmed_text(text: str) -> None:
    found = e164(text, "IN")
    assert found == text.strip() or (found.startswith("+") and found[1:].isdigit())
    assert e164(found, "IN") == found


#: The contract's list, written down once more, cause by cause.
EXPECTED = {
    "CANCELLED": {-1, 16, 26, 31, 487},
    "NO_ANSWER": {3, 9, 11, 18, 19},
    "BUSY": {5, 17},
    "CONGESTION": {6, 7, 8, 10, 15, 34, 38, 41, 42, 127} | set(range(43, 112)),
    "BAD_NUMBER": {12, 14, 22, 28},
    "REJECTED": {13, 21},
    "UNREACHABLE": {20, 27},
}


def test_every_cause_has_the_contracts_disposition() -> None:
    assert {cause: name for name, causes in EXPECTED.items() for cause in causes} == DISPOSITIONS


TIMES = st.none() | st.integers(0, 100_000)


@given(st.builds(Times, TIMES, TIMES, TIMES, TIMES), st.none() | st.integers(-10, 100_000), st.integers(-1, 130))
def test_what_became_of_a_leg_is_consistent(times: Times, duration_ms: int | None, cause: int) -> None:
    became = course(times, duration_ms, cause)
    assert became.answered == (became.disposition == "ANSWERED")
    assert became.talk_ms is None or (became.answered and became.talk_ms >= 0)
    assert became.ring_ms is None or became.ring_ms >= 0
    if became.answered:
        assert times.connected is not None
        assert times.ended is None or (
            became.talk_ms is not None and abs(became.talk_ms - times.ended + times.connected) <= 1000
        )


@pytest.mark.parametrize("duration_ms", [-1, -1000, -(2**63)])
def test_a_duration_below_0_is_no_talk_and_no_seconds(duration_ms: int) -> None:
    became = course(Times(None, None, 5000, 5000), duration_ms, 16)
    assert (became.talk_ms, became.anomalies) == (0, ("duration:mismatch",))


@pytest.mark.parametrize("text", ["16", " 16 ", "+16", "16.0", "016", "16."])
def test_a_cause_may_be_written_as_other_numbers_are(text: str) -> None:
    assert cause_code(text) == 16


@pytest.mark.parametrize("text", ["", " ", "16.5", "1e1", "\u0967\u096c", "16abc", "- 1", "9999999", None])
def test_what_is_no_whole_number_is_no_cause(text: str | None) -> None:
    assert cause_code(text) is None


MISMATCH, SECONDS = ("duration:mismatch",), ("duration:seconds",)


@pytest.mark.parametrize(
    ("measured", "duration_ms", "talk_ms", "anomalies"),
    [
        (60_000, None, 60_000, ()),
        (60_000, 61_000, 61_000, ()),
        (60_000, 59_000, 59_000, ()),
        (60_000, 61_001, 60_000, MISMATCH),
        (60_000, 58_999, 60_000, MISMATCH),
        (60_000, 60, 60_000, SECONDS),
        (60_999, 60, 60_999, SECONDS),
        (61_000, 60, 61_000, SECONDS),
        (61_001, 60, 61_001, MISMATCH),
        (59_000, 60, 59_000, SECONDS),
        (58_999, 60, 58_999, MISMATCH),
        (500, -1, 500, MISMATCH),
        (0, 0, 0, ()),
        (None, None, None, ()),
        (None, 0, 0, ()),
        (None, 7, 7, ()),
        (None, -1, None, MISMATCH),
    ],
)
def test_talk_is_the_duration_within_a_second_of_what_was_measured(
    measured: int | None, duration_ms: int | None, talk_ms: int | None, anomalies: tuple[str, ...]
) -> None:
    times = Times(1_000, None, 2_000, None if measured is None else 2_000 + measured)
    became = course(times, duration_ms, 16)
    assert (became.answered, became.talk_ms, became.anomalies) == (True, talk_ms, anomalies)


@pytest.mark.parametrize(
    ("times", "answered", "ringing_at", "setup_ms", "ring_ms"),
    [
        (Times(100, 100, 100, 100), True, 100, 0, 0),
        (Times(100, 150, 200, 300), True, 150, 100, 50),
        (Times(100, 200, 200, 300), True, 200, 100, 0),
        (Times(100, 201, 200, 300), True, None, 100, None),
        (Times(100, 99, 200, 300), True, None, 100, None),
        (Times(100, 300, None, 300), False, 300, None, 0),
        (Times(100, 301, None, 300), False, None, None, None),
        (Times(100, 150, None, None), False, 150, None, None),
        (Times(None, 150, None, 300), False, 150, None, 150),
        (Times(100, None, 300, 300), True, None, 200, None),
        (Times(100, None, 301, 300), False, None, 201, None),
        (Times(100, None, 99, 300), False, None, -1, None),
        (Times(None, None, 0, None), True, None, None, None),
    ],
)
def test_what_bounds_the_moments_of_a_leg(
    times: Times, answered: bool, ringing_at: int | None, setup_ms: int | None, ring_ms: int | None
) -> None:
    dropped = times.ringing is not None and ringing_at is None
    became = course(times, None, None)
    assert (became.answered, became.ringing_at, became.setup_ms, became.ring_ms) == (
        answered, ringing_at, setup_ms, ring_ms,
    )  # fmt: skip
    assert became.anomalies == (("ringingStartTime:out_of_range",) if dropped else ())


@pytest.mark.parametrize("cause", [None, -2, -1, 0, 2, 4, 16, 112, 1000, *DISPOSITIONS])
def test_a_cause_decides_without_an_answer_and_can_disagree_with_one(cause: int | None) -> None:
    """16 ends what was connected; busy, no answer, rejected and a bad number can't end an answered leg."""
    silent, talked = (course(Times(1, None, connected, 3), None, cause) for connected in (None, 2))
    by_cause = next((name for name, causes in EXPECTED.items() if cause in causes), "UNKNOWN")
    odd = ("hangupCause:disagrees",)
    assert (silent.disposition, silent.anomalies) == (by_cause, odd if cause == 16 else ())
    never = by_cause in {"BUSY", "NO_ANSWER", "REJECTED", "BAD_NUMBER"}
    assert (talked.disposition, talked.anomalies) == ("ANSWERED", odd if never else ())


@pytest.mark.parametrize("text", ["912243692987", "06262772728", "14155552671", "+442079460958", "18001234567"])
def test_what_became_e164_is_valid(text: str) -> None:
    assert is_valid(e164(text, "IN"))


@pytest.mark.parametrize("text", ["", "+", "100", "anonymous", "+266696687", "+9112", "+910000000000", "sip:+91@x"])
def test_what_is_no_number_is_not_valid(text: str) -> None:
    assert not is_valid(e164(text, "IN"))
