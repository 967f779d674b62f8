"""The time of a partition, or of a group, by the records seen of it: it never goes back. Pure: `now` is an argument.

as_of = max(w, now - lag). So live data is as of now, and a replayed past is as of its own time and then moves on.
Source: contract, section 5, "The clock".
"""


class Clock:
    """A time in ms since 1970 UTC.

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
