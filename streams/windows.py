"""A DID's rolling sums over its minutes, for all windows at once. Pure: time is an argument.

Minutes are whole numbers, ms since 1970 UTC // 60,000. At the minute of as_of, a window of n minutes holds the minutes
(minute - n, minute]. A flow is added to its bucket and to the sum of each window that holds its minute; as time goes
on, what leaves is subtracted, once, and nothing comes back. So a record costs the same however long the windows are.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

from streams.bucket import ID_BYTES, MINUTE_MS, Bucket
from streams.callers import NO_CHANGES, Callers, Change
from streams.ids import Ids
from streams.lines import Busy, Lines
from streams.metrics import LANE_MASK

PART_BITS: Final = 16  # a place is minute << PART_BITS | which of the minute's buckets
_TALLY_BITS: Final = 32
_TALLY: Final = (1 << _TALLY_BITS) - 1
_NEVER: Final = -(1 << 63)


class Flow(NamedTuple):
    """What counts of a flow record. `event_id` is 16 bytes, `occurred_at` ms, `counts` one integer (see metrics).

    `caller`: 64 bits, 0 for nobody. `alone`: it was answered, without an agent leg. `legs`: see lines. `tallies`: the
    numbers of its bins and path.
    """

    did: str
    event_id: bytes
    occurred_at: int
    counts: int
    caller: int
    alone: bool
    legs: list[int]
    tallies: list[int]


class Rolling:
    """One DID: its buckets by place, the ids in them, and a sum per window as of `minute`. `lengths`: shortest first.

    Tallies are by number, the counts of all windows side by side in one integer, the shortest window lowest. What is no
    sum, or a sum that later calls change, is kept by callers and lines: None as long as no flow has brought any.
    Buckets are packed but for those that are to be written to the log.
    """

    __slots__ = (
        *("_callers", "_ids", "_lengths", "_lines", "_tallies"),
        *("buckets", "emitted_at", "kept", "minute", "newest", "sums"),
    )

    def __init__(self, minute: int, lengths: Sequence[int]) -> None:
        self._lengths = lengths
        self.minute = minute
        self.newest = _NEVER  # minute of a flow
        self.buckets: dict[int, Bucket | bytes] = {}
        self.sums = [0] * len(lengths)
        self.emitted_at = float("-inf")  # when its metrics were last written, in the table's seconds
        self.kept: list[int] = []  # places to delete along with the last metrics
        self._ids = Ids()
        self._callers: Callers | None = None
        self._tallies: dict[int, int] = {}
        self._lines: Lines | None = None

    def admit(self, minute: int, event_id: bytes) -> bool:
        """Remember a flow that is to be counted; False where it was before, most likely in that minute."""
        if self._ids.put(event_id):
            return True
        likely = [self.buckets[place] for place in self._places(minute)]
        if any(_holds(bucket, event_id) for bucket in (*likely, *self.buckets.values())):
            return False
        self._ids.put_too(event_id)
        return True

    def add(self, minute: int, flow: Flow) -> tuple[int, Bucket, Sequence[Change]]:
        """Count a new flow of a minute that the largest window holds.

        Returns its bucket, the place of that, and what the flow changes of its caller's others.
        """
        _, event_id, at, counts, caller, alone, legs, tallies = flow
        place = minute << PART_BITS
        held = self.buckets.get(place)
        if held is None:
            bucket = self.buckets[place] = Bucket()
        elif isinstance(held, bytes) or held.full:
            place, bucket = self._open(minute)
        else:
            bucket = held
        changes = NO_CHANGES
        if caller:
            if self._callers is None:
                self._callers = Callers()
            own, changes = self._callers.add(caller, at, alone)
            counts += own
            bucket.calls += (caller, at % MINUTE_MS << 1 | alone)
        if legs:
            if self._lines is None:
                self._lines = Lines(self.minute, self._lengths)
            self._lines.note(legs)
            bucket.legs += legs
        if minute > self.newest:
            self.newest = minute
        bucket.counts += counts
        bucket.ids += event_id
        bucket.tallies += tallies
        without = bisect_right(self._lengths, self.minute - minute)
        self._sum(counts, without)
        self._tally(tallies, without)
        return place, bucket, changes

    def _sum(self, counts: int, without: int) -> None:
        """Add to all windows but so many of the shortest. Windows that hold the same share a sum, as most DIDs' do."""
        sums, before, after = self.sums, -1, -1
        for n in range(without, len(sums)):
            if sums[n] is not before:
                before = sums[n]
                after = before + counts
            sums[n] = after

    def change(self, minute: int, counts: int) -> tuple[int, Bucket]:
        """Change one of a minute's counts by one; the bucket it is changed in: for one less, one that has any."""
        needed = -counts * LANE_MASK if counts < 0 else 0
        for place in reversed([*self._places(minute)]):  # the last one is open as a rule, and to be written anyway
            bucket = _opened(self.buckets[place])
            if not needed or bucket.counts & needed:
                break
        self.buckets[place] = bucket
        bucket.counts += counts
        self._sum(counts, bisect_right(self._lengths, self.minute - minute))
        return place, bucket

    def tallies(self) -> list[list[tuple[int, int]]]:
        """The tallies of each window, in order; one list for windows that hold the same flows."""
        found: list[list[tuple[int, int]]] = []
        all_ = sorted(self._tallies.items())
        for n, total in enumerate(self.sums):
            if n and total == self.sums[n - 1]:
                found.append(found[-1])
                continue
            shift = n * _TALLY_BITS
            held = [(number, counts >> shift & _TALLY) for number, counts in all_]
            found.append([one for one in held if one[1]])
        return found

    def busy(self) -> tuple[list[Busy], int]:
        """How many legs were up at once in each window, and how long the longest was, ms."""
        if self._lines is None:
            return [Busy(0, 0)] * len(self._lengths), 0
        if self._lines.outdated(self.minute):
            self._lines = Lines(self.minute, self._lengths)
            for bucket in self.buckets.values():
                self._lines.note(_opened(bucket).legs)
        return self._lines.at(self.minute), self._lines.longest_ms

    def advance(self, minute: int) -> list[int]:
        """Move on to a later minute (an earlier one changes nothing); the places that left the largest window."""
        if minute <= self.minute:
            return []
        left: list[int] = []
        for n, length in enumerate(self._lengths):
            left = self._between(self.minute - length, minute - length)
            for place in left:
                bucket = _opened(self.buckets[place])
                self.sums[n] -= bucket.counts
                self._untally(bucket.tallies, n)
        self.minute = minute
        if left:
            self._drop(left)
        return left

    def next_change(self, until: int) -> int:
        """The first minute after its own, or else `until`, at which something leaves a window."""
        at, buckets, lengths = self.minute, self.buckets, self._lengths
        if (until - at) * len(lengths) <= len(buckets):
            ahead = (m for m in range(at + 1, until) if any((m - n) << PART_BITS in buckets for n in lengths))
            return next(ahead, until)
        leaving = ((place >> PART_BITS) + length for place in buckets for length in lengths)
        return min((minute for minute in leaving if at < minute < until), default=until)

    def settle(self) -> list[int]:
        """Make ids and sums from the buckets, after a restore; the places that no window holds."""
        oldest = self.minute - self._lengths[-1] + 1
        dropped = [place for place in self.buckets if place >> PART_BITS < oldest]
        for place in dropped:
            del self.buckets[place]
        self.newest = max(self.buckets, default=_NEVER) >> PART_BITS
        opened = {place: _opened(bucket) for place, bucket in self.buckets.items()}
        self._ids.restore([bucket.ids for bucket in opened.values()])
        for n, length in enumerate(self._lengths):
            first = (self.minute - length + 1) << PART_BITS
            self.sums[n] = sum([bucket.counts for place, bucket in opened.items() if place >= first])
        self._recall(opened)
        return dropped

    def _drop(self, places: Sequence[int]) -> None:
        """Forget buckets that no window holds any more."""
        gone = 0
        for place in places:
            bucket, minute = _opened(self.buckets.pop(place)), place >> PART_BITS
            if self._callers is not None:
                self._callers.forget((minute + 1) * MINUTE_MS, len(bucket.calls) >> 1)
            gone += len(bucket.ids) // ID_BYTES
        if self._ids.forget(gone):
            self._ids.restore([_opened(bucket).ids for bucket in self.buckets.values()])

    def _recall(self, buckets: Mapping[int, Bucket]) -> None:
        """Make tallies, callers and lines from the buckets."""
        self._tallies = {}
        for place, bucket in buckets.items():
            self._tally(bucket.tallies, bisect_right(self._lengths, self.minute - (place >> PART_BITS)))
        calls = [one for place, bucket in buckets.items() for one in bucket.each_call(place >> PART_BITS)]
        if calls:
            self._callers = Callers()
            self._callers.restore(calls)
        for bucket in buckets.values():
            if bucket.legs:
                self._lines = self._lines or Lines(self.minute, self._lengths)
                self._lines.note(bucket.legs)

    def _tally(self, tallies: Iterable[int], without: int) -> None:
        """Count tallies in all windows but so many of the shortest."""
        held, one = self._tallies, _one_in_each(len(self.sums))[without]
        for number in tallies:
            held[number] = held.get(number, 0) + one

    def _untally(self, tallies: Iterable[int], window: int) -> None:
        """Tallies leave a window."""
        held, one = self._tallies, 1 << window * _TALLY_BITS
        for number in tallies:
            left = held[number] - one
            if left:
                held[number] = left
            else:
                del held[number]

    def _open(self, minute: int) -> tuple[int, Bucket]:
        """The minute's last bucket, unpacked, or a new one where that is full."""
        *_, place = self._places(minute)
        bucket = _opened(self.buckets[place])
        if bucket.full:
            place, bucket = place + 1, Bucket()
        self.buckets[place] = bucket
        return place, bucket

    def _places(self, minute: int) -> Iterator[int]:
        place = minute << PART_BITS
        while place in self.buckets:
            yield place
            place += 1

    def _between(self, after: int, until: int) -> list[int]:
        """Its places of the minutes (after, until]: by the range or by the buckets, whichever is fewer."""
        if until == after + 1 and until << PART_BITS not in self.buckets:
            return []  # as a rule
        if until - after <= len(self.buckets):
            some = [minute for minute in range(after + 1, until + 1) if minute << PART_BITS in self.buckets]
            return [place for minute in some for place in self._places(minute)]
        first, end = (after + 1) << PART_BITS, (until + 1) << PART_BITS
        return [place for place in self.buckets if first <= place < end]


@cache
def _one_in_each(windows: int) -> tuple[int, ...]:
    """What a flow adds to a tally in all of so many windows, in all but the shortest, and so on."""
    ones = [1 << n * _TALLY_BITS for n in range(windows)]
    return tuple(sum(ones[without:]) for without in range(windows))


def _holds(bucket: Bucket | bytes, event_id: bytes) -> bool:
    """Whether a flow is in it; most that it is not in are never opened."""
    return event_id in (bucket if isinstance(bucket, bytes) else bucket.ids) and event_id in _opened(bucket).each_id()


def _opened(bucket: Bucket | bytes) -> Bucket:
    return Bucket.unpack(bucket) if isinstance(bucket, bytes) else bucket
