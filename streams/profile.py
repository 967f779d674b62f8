"""What is usual for a DID: flows an hour, for each of the 168 hours of the week. Pure.

An hour's figure is a moving average over the weeks: LEARNED of what is new and the rest of what was known. An hour that
no week has shown yet counts as the least of the same hour on the days so far: a DID's first Sunday, if quiet, must not
look like a silence for long. What an hour brought is learned a day later, so that no hour is ever held against itself:
after a burst of 300 calls in one minute the rest of that hour is no silence. Hours and minutes are whole ones since
1970 UTC.
"""

from array import array
from typing import Any, Final

WEEK: Final = 168
DAY: Final = 24
LEARNED: Final = 0.3
NEVER: Final = -1.0


class Profile:
    """One DID's week, and the hours of its last day, which are still to be learned."""

    __slots__ = ("hours", "last")

    def __init__(self) -> None:
        self.hours = array("f", [NEVER]) * WEEK
        self.last: dict[int, int] = {}  # hour of the day -> hour << 32 | flows

    def brought(self, hour: int, flows: int) -> None:
        """Note what an hour brought, once it is over, and learn what the same hour brought the day before."""
        before = self.last.get(hour % DAY)
        if before is not None:
            self._learn(before >> 32, before & 0xFFFFFFFF)
        self.last[hour % DAY] = hour << 32 | flows

    def _learn(self, hour: int, flows: int) -> None:
        was = self.hours[hour % WEEK]
        self.hours[hour % WEEK] = flows if was == NEVER else was + LEARNED * (flows - was)

    def usual(self, hour: int) -> float:
        """Flows to expect in an hour; 0 where nothing like it was ever seen."""
        known = self.hours[hour % WEEK]
        if known != NEVER:
            return known
        seen = [flows for flows in self.hours[hour % DAY :: DAY] if flows != NEVER]
        last = self.last.get(hour % DAY, hour << 32)
        return min([*seen, last & 0xFFFFFFFF] if last >> 32 != hour else seen, default=0.0)

    def expected(self, after: int, until: int) -> float:
        """Flows to expect in the minutes (after, until)."""
        total, minute = 0.0, after + 1
        while minute < until:
            end = min(until, (minute // 60 + 1) * 60)
            total += self.usual(minute // 60) * (end - minute) / 60
            minute = end
        return total

    def pack(self) -> Any:
        """As plain values for the changelog; the floats are little-endian, as on all machines that this runs on."""
        return self.hours.tobytes(), list(self.last.values())

    @classmethod
    def unpack(cls, packed: Any) -> "Profile":
        """From `pack`'s values. Raises ValueError where they are none."""
        hours, last = packed
        profile = cls()
        profile.hours = array("f", hours)
        if len(profile.hours) != WEEK:
            raise ValueError("a week of other than 168 hours")
        profile.last = {(one >> 32) % DAY: one for one in last}
        return profile
