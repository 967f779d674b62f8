"""What an answer means, and when to try again. Pure: time and chance are arguments.

What time may mend is tried again: no answer, 408, 429, 5xx. All else is for somebody to mend, and an alert that waits
for that is no news any more: it is given up at once. So is what was tried and is a day old.
"""

from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Final

NO_ANSWER: Final = 0
MENDED_BY_TIME: Final = frozenset({NO_ANSWER, 408, 429})
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 300.0
LONGEST_REST_SECONDS: Final = 3600.0
GIVEN_UP_AFTER_MS: Final = 24 * 3600 * 1000


class Verdict(Enum):
    """What becomes of a message."""

    SENT = "sent"
    LATER = "later"
    GIVEN_UP = "given up"


def verdict(status: int, age_ms: int) -> Verdict:
    """What an answer means for a message whose record Kafka has had for so long."""
    if 200 <= status < 300:
        return Verdict.SENT
    again = status in MENDED_BY_TIME or status >= 500
    return Verdict.LATER if again and age_ms < GIVEN_UP_AFTER_MS else Verdict.GIVEN_UP


def pause_seconds(tries: int, chance: float) -> float:
    """How long to wait after so many tries, from 1: doubling; `chance` in [0, 1) picks between half and all of it."""
    whole = min(FIRST_PAUSE_SECONDS * 2.0 ** min(tries - 1, 30), LONGEST_PAUSE_SECONDS)
    return whole * (1 + chance) / 2


def rest_seconds(retry_after: str, now: float) -> float:
    """How long an address wants to be left alone: seconds or a date (RFC 9110, 10.2.3); 0 where it says nothing."""
    if retry_after.isascii() and retry_after.isdigit():
        seconds = float(retry_after)
    else:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - now
        except (ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_REST_SECONDS)
