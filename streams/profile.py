"""What is usual for a DID: flows an hour, for each of the 168 hours of the week. Pure.

An hour's figure is a moving average over the weeks, LEARNED of what is new and the rest of what was known. An hour that
was never seen counts as the least of the same hour on the days that were: who never saw a Sunday must not miss its
calls for long. Hours are hours since 1970 UTC, minutes likewise; the week begins where 1970 did, on a Thursday.
"""

from array import array
from typing import Final

WEEK: Final = 168
DAY: Final = 24
LEARNED: Final = 0.3
NEVER: Final = -1.0


class Profile:
    """One DID's week."""

    __slots__ = ("hours",)

    def __init__(self, hours: bytes = b"") -> None:
        self.hours = array("f", hours) if hours else array("f", [NEVER]) * WEEK

    def learn(self, hour: int, flows: int) -> None:
        """Take in what an hour brought, once it is over."""
        was = self.hours[hour % WEEK]
        self.hours[hour % WEEK] = flows if was == NEVER else was + LEARNED * (flows - was)

    def usual(self, hour: int) -> float:
        """Flows to expect in an hour; 0 where nothing like it was ever seen."""
        known = self.hours[hour % WEEK]
        if known != NEVER:
            return known
        return min([flows for flows in self.hours[hour % DAY :: DAY] if flows != NEVER], default=0.0)

    def expected(self, after: int, until: int) -> float:
        """Flows to expect in the minutes (after, until)."""
        total, minute = 0.0, after + 1
        while minute < until:
            end = min(until, (minute // 60 + 1) * 60)
            total += self.usual(minute // 60) * (end - minute) / 60
            minute = end
        return total

    def pack(self) -> bytes:
        """As bytes for the changelog: 168 floats of 4 bytes, in the machine's order (all ours are little-endian)."""
        return self.hours.tobytes()
