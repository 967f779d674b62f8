"""A DID's rolling sums over its minutes, for all windows at once, and the partition's clock. Pure: time is an argument.

Minutes are whole numbers, ms since 1970 UTC // 60,000. At the minute of as_of, a window of n minutes holds the minutes
(minute - n, minute]. A flow is added to its bucket and to the sum of each window that holds its minute; as time goes on
what left is subtracted, once, and nothing comes back. So a record costs the same however long the windows are.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from streams.bucket import Bucket

MINUTE_MS: Final = 60_000


class Rolling:
    """One DID: its buckets by minute, the ids in them, and a sum per window (shortest first) as of `minute`."""

    __slots__ = ("emitted_at", "ids", "kept", "minute", "minutes", "sums")

    def __init__(self, minute: int, windows: int) -> None:
        self.minute = minute
        self.minutes: dict[int, list[Bucket]] = {}
        self.ids: set[bytes] = set()
        self.sums = [0] * windows
        self.emitted_at = float("-inf")  # when its metrics were last written, in the table's seconds
        self.kept: list[tuple[int, int]] = []  # minutes and parts to delete along with the last metrics

    def add(self, minute: int, event_id: bytes, counts: int, *, lengths: Sequence[int]) -> tuple[int, Bucket]:
        """Count a new flow of a minute that the largest window holds; returns its bucket, and which of the minute's."""
        parts = self.minutes.get(minute)
        if parts is None:
            parts = self.minutes[minute] = [Bucket()]
        elif parts[-1].full:
            parts.append(Bucket())
        bucket = parts[-1]
        bucket.add(event_id, counts)
        self.ids.add(event_id)
        age, sums, before, after = self.minute - minute, self.sums, -1, -1
        for n, length in enumerate(lengths):
            if age < length:
                if sums[n] is not before:  # windows that hold the same share one sum: most DIDs woke today
                    before = sums[n]
                    after = before + counts
                sums[n] = after
        return len(parts) - 1, bucket

    def advance(self, minute: int, *, lengths: Sequence[int]) -> list[tuple[int, int]]:
        """Go on to a later minute (an earlier one changes nothing); the buckets that left the largest window."""
        if minute <= self.minute:
            return []
        for n, length in enumerate(lengths):
            for left in self._between(self.minute - length, minute - length):
                self.sums[n] -= sum([part.counts for part in self.minutes[left]])
        gone = self._between(self.minute - lengths[-1], minute - lengths[-1])
        self.minute = minute
        return self.drop(gone)

    def next_change(self, until: int, *, lengths: Sequence[int]) -> int:
        """The first minute after its own, or else `until`, at which something leaves a window."""
        at = self.minute
        if (until - at) * len(lengths) <= len(self.minutes):
            ahead = (m for m in range(at + 1, until) if any(m - length in self.minutes for length in lengths))
            return next(ahead, until)
        leaving = (minute + length for minute in self.minutes for length in lengths)
        return min((minute for minute in leaving if at < minute < until), default=until)

    def drop(self, minutes: Iterable[int]) -> list[tuple[int, int]]:
        """Forget minutes that no window holds any more."""
        dropped = []
        for minute in minutes:
            for number, part in enumerate(self.minutes.pop(minute)):
                self.ids.difference_update(part.each_id())
                dropped.append((minute, number))
        return dropped

    def restore(self, minute: int, part: int, bucket: Bucket) -> None:
        """Put back a bucket from the changelog; `settle` once all are there."""
        parts = self.minutes.get(minute)
        if parts is None and part == 0:
            self.minutes[minute] = [bucket]
            return
        parts = self.minutes.setdefault(minute, [])
        while len(parts) <= part:
            parts.append(Bucket())
        parts[part] = bucket

    def settle(self, *, lengths: Sequence[int]) -> list[tuple[int, int]]:
        """Make ids and sums from the buckets, after a restore; the buckets that no window holds."""
        dropped = self.drop([minute for minute in self.minutes if minute <= self.minute - lengths[-1]])
        self.ids = {event_id for parts in self.minutes.values() for part in parts for event_id in part.each_id()}
        for n, length in enumerate(lengths):
            held = [parts for minute, parts in self.minutes.items() if self.minute - minute < length]
            self.sums[n] = sum(part.counts for parts in held for part in parts)
        return dropped

    def _between(self, after: int, until: int) -> list[int]:
        """Its minutes in (after, until]: by the range or by the minutes, whichever is fewer."""
        if until - after <= len(self.minutes):
            return [minute for minute in range(after + 1, until + 1) if minute in self.minutes]
        return [minute for minute in self.minutes if after < minute <= until]


class Clock:
    """The partition's time, ms since 1970 UTC: as_of = max(w, now - lag), and never less than it was.

    w: the greatest occurred_at seen; lag: the smallest (Kafka timestamp - occurred_at) seen, at least 0.
    `floor`, the as_of last given, holds it where `now` steps back, on this machine or from one owner to the next.
    """

    __slots__ = ("floor", "lag", "w")

    def __init__(self, w: int | None = None, lag: int | None = None, floor: int | None = None) -> None:
        self.w, self.lag, self.floor = w, lag, floor

    def see(self, occurred_at: int, timestamp: int) -> bool:
        """Take note of a record: when it happened, and when Kafka got it. Says whether that may move as_of."""
        moved = False
        if self.w is None or occurred_at > self.w:
            self.w, moved = occurred_at, True
        lag = timestamp - occurred_at
        if self.lag is None or lag < self.lag:
            self.lag, moved = max(0, lag), True
        return moved

    def as_of(self, now: int) -> int | None:
        """The partition's time at `now`; None as long as nothing was seen."""
        if self.w is None or self.lag is None:
            return None
        self.floor = max(self.w, now - self.lag, self.w if self.floor is None else self.floor)
        return self.floor
