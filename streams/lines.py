"""How many legs of a DID were up at once, in each of its windows: the most, and for how long together. Pure.

The legs' starts and ends are kept, each in order: at any moment, as many legs are up as have started, less those that
have ended. A new leg raises the figures only while it was up, and a window that moves on loses only what it leaves
behind; so neither walks through all legs again, unless a window has left its peak behind.
A leg is up in [start, end), and never after the minute of its flow: so the flow says how long a leg is kept. What ended
before it started never was up. Times are ms since 1970 UTC.
"""

from array import array
from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import NamedTuple

from streams.bucket import MINUTE_MS


class Busy(NamedTuple):
    """A window: the most legs at once (None: not known), and the time that all legs together were up in it, ms."""

    peak: int | None
    legs_ms: int


class _Span:
    """A window: the same, and until when it last was at its peak."""

    __slots__ = ("legs_ms", "peak", "until")

    def __init__(self) -> None:
        self.peak = self.legs_ms = 0
        self.until = 0


class Lines:
    """The legs of a DID, and its windows (`lengths` in minutes, shortest first) as of a minute.

    New legs are only taken in when somebody asks. `longest_ms`: how long the longest leg in the largest window was up.
    """

    __slots__ = ("_ends", "_lengths", "_longest_until", "_minute", "_new", "_spans", "_starts", "longest_ms")

    def __init__(self, minute: int, lengths: Sequence[int]) -> None:
        self._minute, self._lengths = minute, lengths
        self._new: list[int] = []
        self._starts, self._ends = array("q"), array("q")
        self._spans = [_Span() for _ in lengths]
        self.longest_ms = self._longest_until = 0

    def note(self, legs: Sequence[int]) -> None:
        """Take legs: the start of each, and its end."""
        self._new += legs

    def outdated(self, minute: int) -> bool:
        """Whether at this minute the largest window has left the longest leg behind: then take all anew."""
        return self.longest_ms > 0 and self._longest_until <= (minute - self._lengths[-1] + 1) * MINUTE_MS

    def at(self, minute: int) -> list[Busy]:
        """The windows at a minute that is not before the last one asked for."""
        begins = [(minute - length + 1) * MINUTE_MS for length in self._lengths]
        if minute > self._minute:
            self._go_on(minute, begins)
        new = self._take(begins[-1]) if self._new else []
        if new:
            first, all_ms = min(new)[0], sum([end - start for start, end in new])
            for span, begin in zip(self._spans, begins, strict=True):
                if begin <= first:
                    span.legs_ms += all_ms
                else:
                    span.legs_ms += sum(
                        [end - (start if start > begin else begin) for start, end in new if end > begin]
                    )
        self._find_peaks(begins, new)
        return [Busy(span.peak, span.legs_ms) for span in self._spans]

    def _go_on(self, minute: int, begins: Sequence[int]) -> None:
        """Leave behind what lies before the windows of a later minute."""
        for span, begin, length in zip(self._spans, begins, self._lengths, strict=True):
            span.legs_ms -= self._up((self._minute - length + 1) * MINUTE_MS, begin)
        self._minute = minute
        over = bisect_right(self._ends, begins[-1])
        del self._ends[:over], self._starts[:over]  # as many legs had started before that as had ended

    def _take(self, begin: int) -> list[tuple[int, int]]:
        """Take the new legs in; returns those that were up after `begin`."""
        times = iter(self._new)
        new = [(start, end) for start, end in zip(times, times, strict=True) if start < end > begin]
        self._new = []
        if len(new) > len(self._starts) >> 4:
            self._starts = array("q", sorted([*self._starts, *[start for start, _ in new]]))
            self._ends = array("q", sorted([*self._ends, *[end for _, end in new]]))
        else:
            for start, end in new:
                insort(self._starts, start)
                insort(self._ends, end)
        longest = max([(end - start, end) for start, end in new], default=(0, 0))
        self.longest_ms, self._longest_until = max(longest, (self.longest_ms, self._longest_until))
        return new

    def _find_peaks(self, begins: Sequence[int], new: Sequence[tuple[int, int]]) -> None:
        """Anew for windows that left theirs behind, and for all shorter ones; else only where new legs were up."""
        left = [n for n, (span, begin) in enumerate(zip(self._spans, begins, strict=True)) if span.until <= begin]
        anew = left[-1] + 1 if left else 0
        peak = until = 0
        for n, span in enumerate(self._spans[:anew]):
            before, until_then = self._peak(begins[n], begins[n - 1] if n else None)
            if before > peak:
                peak, until = before, until_then
            span.peak, span.until = peak, until
        if not new:
            return
        first, last = min([start for start, _ in new]), max([end for _, end in new])
        walked: dict[int, tuple[int, int]] = {}
        for span, begin in zip(self._spans[anew:], begins[anew:], strict=True):
            since = max(first, begin)
            peak, until = walked[since] = walked.get(since) or self._peak(since, last)
            if peak >= span.peak:
                span.until = until if peak > span.peak else max(until, span.until)
                span.peak = peak

    def _peak(self, begin: int, end: int | None) -> tuple[int, int]:
        """The most legs at once in [begin, end), and until when there were so many, as far as that matters."""
        starts, ends = self._starts, self._ends
        started, ended = bisect_right(starts, begin), bisect_right(ends, begin)
        peak = started - ended
        until = ends[ended] if peak else 0
        for place in range(started, len(starts)):
            start = starts[place]
            if end is not None and start >= end:
                break
            while ends[ended] <= start:
                ended += 1
            if place + 1 - ended >= peak:
                peak, until = place + 1 - ended, ends[ended]
        return peak, until

    def _up(self, begin: int, end: int) -> int:
        """The time that all legs together were up in [begin, end), ms."""
        total = 0
        for times, sign in ((self._starts, 1), (self._ends, -1)):
            first, last = bisect_right(times, begin), bisect_right(times, end)
            total += sign * (first * (end - begin) + (last - first) * end - sum(times[first:last]))
        return total
