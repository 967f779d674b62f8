"""What the fields of a call mean: numbers, times, causes, answered, talk.

Pure. Sources: the provider's page for the fields, E.164 for numbers, ITU-T Q.850 for causes from 17 on; the provider's
own table (Asterisk's numbering) for causes up to 16. The two disagree below 17, so the contract's table decides.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

import phonenumbers
from msgspec import Struct

from schemas.memo import Memo

#: Two-letter codes of the regions that have telephone numbers.
REGIONS: Final = frozenset(phonenumbers.SUPPORTED_REGIONS)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_EARLIEST_MS: Final = -62_135_596_800_000  # 0001-01-01T00:00Z: what any reader of timestamp-millis can still show
_LATEST_MS: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
#: Date, time and offset. Whatever else fromisoformat takes, it takes in some versions of Python only, or misreads: a
#: fraction of a minute (23:49.5) as one of a second.
_ISO: Final = re.compile(
    r"\s*(\d{8}|\d{4}-\d\d-\d\d|\d{4}-W\d\d-\d)(?:[Tt ](\d\d(?::?\d\d(?::?\d\d(?:[.,]\d+)?)?)?)"
    r" ?([Zz]|[+-]\d\d(?::?[0-5]\d(?::?[0-5]\d)?)?)?)?\s*",
    re.ASCII,
)
_END_OF_DAY: Final = re.compile(r"24(?::?00){0,2}(?:[.,]0+)?")

AGREEMENT_MS: Final = 1000  # how far duration and end less connect may differ

_CAUSES: Final = {
    "CANCELLED": (-1, 16, 26, 31, 487),
    "NO_ANSWER": (3, 9, 11, 18, 19),
    "BUSY": (5, 17),
    "CONGESTION": (6, 7, 8, 10, 15, 34, 38, *range(41, 112), 127),
    "BAD_NUMBER": (12, 14, 22, 28),
    "REJECTED": (13, 21),
    "UNREACHABLE": (20, 27),
}
#: hangupCause -> disposition of a leg that was not answered.
DISPOSITIONS: Final = {cause: disposition for disposition, causes in _CAUSES.items() for cause in causes}
#: What an answered leg's cause can't say.
NEVER_ANSWERED: Final = frozenset({"BUSY", "NO_ANSWER", "REJECTED", "BAD_NUMBER"})
NORMAL_CLEARING: Final = 16

_LONGEST_NUMBER: Final = 40
_CODE: Final = re.compile(r"\s*([+-]?[0-9]{1,6})(?:\.0*)?\s*")
_CODES: Final[dict[str | None, int]] = {str(code): code for code in DISPOSITIONS}
_BARE_NUMBER: Final = re.compile(r"[0-9 ().-]+", re.ASCII)


def _national_pattern() -> str:
    """The digits of Indian mobile and fixed lines, without prefix."""
    india = phonenumbers.PhoneMetadata.metadata_for_region("IN")
    kinds = (india.mobile, india.fixed_line) if india else ()
    return "|".join(f"(?:{kind.national_number_pattern})" for kind in kinds if kind)


#: How nearly all numbers here are written, and phonenumbers' own pattern for the ten digits: the way past its parser.
_INDIAN: Final = re.compile(r"(?:\+91|0091|091|91|0)?([0-9]{10})")
_NATIONAL: Final = re.compile(_national_pattern())


def _second(text: str) -> int:
    """The ms of a second written like 2022-11-29T23:49:13, as if in UTC. KeyError where it is written otherwise."""
    second = _instant(f"{text}Z", UTC) if _SECOND.fullmatch(text) else None
    if second is None:
        raise KeyError(text)
    return second


def _rest(text: str) -> int:
    """The ms that a fraction and an offset written like .901+05:30 add. KeyError where it is written otherwise."""
    rest = _instant(f"1970-01-01T00:00:00{text}", UTC) if _REST.fullmatch(text) else None
    if rest is None:
        raise KeyError(text)
    return rest


_SECOND: Final = re.compile(r"(?:19|20)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)  # no offset leads out of these years
_REST: Final = re.compile(r"(?:\.\d{1,3})?[+-]\d\d:\d\d", re.ASCII)
_SECONDS: Final = Memo(_second, 4096)
_RESTS: Final = Memo(_rest, 4096)


def instant(text: str, zone: tzinfo) -> int | None:
    """ISO 8601 as ms since 1970 UTC, cut to whole ms; None for any other text. Without offset, it is in `zone`.

    Calls come second by second, so that a time is nearly always two look-ups, at a quarter of what reading it costs.
    """
    try:
        return _SECONDS[text[:19]] + _RESTS[text[19:]]
    except KeyError:
        return _instant(text, zone)


def _instant(text: str, zone: tzinfo) -> int | None:
    found = _ISO.fullmatch(text)
    if not found:
        return None
    date, time, offset = found.groups(default="")
    is_over = bool(_END_OF_DAY.fullmatch(time))
    if is_over or not time:
        time = "00" + time[2:]
    try:
        read = datetime.fromisoformat(f"{date}T{time}{offset.upper()}") + timedelta(days=is_over)
        if read.tzinfo is None:
            read = read.replace(tzinfo=zone)
        ms = (read - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        return None
    return ms if _EARLIEST_MS <= ms <= _LATEST_MS else None


def e164(text: str, region: str) -> str:
    """The number as E.164 (+912243692987), or the trimmed text where it is no valid number.

    A number with country code but without plus is tried as one of `region` first, then as an international one.
    """
    if len(text) > _LONGEST_NUMBER:
        text = text.strip()
    return _e164(text, region) if len(text) <= _LONGEST_NUMBER else text


@lru_cache(maxsize=65_536)
def _e164(text: str, region: str) -> str:
    text = text.strip()
    indian = _INDIAN.fullmatch(text) if region == "IN" else None
    return f"+91{indian[1]}" if indian and _NATIONAL.fullmatch(indian[1]) else parsed(text, region)


def parsed(text: str, region: str) -> str:
    """What `e164` gives, by phonenumbers itself: some 30 µs that a cache seldom saves, as callers seldom call twice."""
    international = "+" + "".join(filter(str.isdigit, text)).lstrip("0") if _BARE_NUMBER.fullmatch(text) else None
    for candidate in (text, international):
        if candidate is None:
            continue
        try:
            number = phonenumbers.parse(candidate, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return text


def is_valid(number: str) -> bool:
    """Whether a text of `e164` is a valid number; a plus alone does not tell: +266696687 spells "anonymous"."""
    if number[:1] != "+":
        return False
    indian = _INDIAN.fullmatch(number)
    return bool(indian and _NATIONAL.fullmatch(indian[1])) or _is_valid(number)


@lru_cache(maxsize=65_536)
def _is_valid(number: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False


def cause_code(text: str | None) -> int | None:
    """The hangup cause as a number, None for any other text."""
    if text in _CODES:
        return _CODES[text]
    match = _CODE.fullmatch(text) if text else None
    return int(match[1]) if match else None


class Course(Struct, gc=False):
    """What became of a leg: spans in ms, None where unknown."""

    answered: bool
    disposition: str
    ringing_at: int | None
    setup_ms: int | None
    ring_ms: int | None
    talk_ms: int | None
    anomalies: tuple[str, ...]


class Times(Struct, gc=False):
    """The moments of a leg as they were sent, ms since 1970 UTC, None where unknown."""

    started: int | None
    ringing: int | None
    connected: int | None
    ended: int | None


def course(times: Times, duration_ms: int | None, cause: int | None) -> Course:
    """What became of a leg, from its times, its duration as sent and its hangup cause (contract, section 4)."""
    started, ringing, connected, ended = times.started, times.ringing, times.connected, times.ended
    anomalies: tuple[str, ...] = ()
    if ringing is not None and not _ordered(started, ringing, ended if connected is None else connected):
        ringing = None
        anomalies += ("ringingStartTime:out_of_range",)
    answered = connected is not None and _ordered(started, connected, ended)
    by_cause = "UNKNOWN" if cause is None else DISPOSITIONS.get(cause, "UNKNOWN")
    cleared_unconnected = cause == NORMAL_CLEARING and connected is None
    if cleared_unconnected or (answered and by_cause in NEVER_ANSWERED):
        anomalies += ("hangupCause:disagrees",)
    talk_ms, odd = _talk(connected, ended, duration_ms) if answered else (None, None)
    if odd:
        anomalies += (odd,)
    return Course(
        answered=answered,
        disposition="ANSWERED" if answered else by_cause,
        ringing_at=ringing,
        setup_ms=_span(started, connected),
        ring_ms=None if ringing is None else _span(ringing, ended if connected is None else connected),
        talk_ms=talk_ms,
        anomalies=anomalies,
    )


def _ordered(least: int | None, value: int, most: int | None) -> bool:
    return (least is None or least <= value) and (most is None or value <= most)


def _span(start: int | None, end: int | None) -> int | None:
    return None if start is None or end is None else end - start


def _talk(connected: int | None, ended: int | None, duration_ms: int | None) -> tuple[int | None, str | None]:
    """Talk time of an answered leg and what is odd about its duration."""
    measured = _span(connected, ended)
    if duration_ms is None:
        return measured, None
    if measured is None:
        return (duration_ms, None) if duration_ms >= 0 else (None, "duration:mismatch")
    if duration_ms < 0:
        return measured, "duration:mismatch"
    if abs(duration_ms - measured) <= AGREEMENT_MS:
        return duration_ms, None
    in_seconds = abs(duration_ms * 1000 - measured) <= AGREEMENT_MS
    return measured, "duration:seconds" if in_seconds else "duration:mismatch"
