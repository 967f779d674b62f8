"""Which flows of a DID are counted: the first halves of their ids, in order. Pure.

A half is 8 bytes, found by bisection and put in its place as it comes. Where one is met again, the buckets say whether
it is the same flow. They lie in parts, as calls do (see callers): making room in a list of a hundred thousand costs
more than everything else about a flow.
"""

import sys
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Final

MOST: Final = 4096  # halves in a part, on average


class Ids:
    """Ids of 16 bytes. `forget` hears how many are gone, not which; they are forgotten with the next `restore`."""

    __slots__ = ("_gone", "_number", "_parts")

    def __init__(self) -> None:
        self._parts = [array("Q")]
        self._number = self._gone = 0

    def put(self, event_id: bytes) -> bool:
        """Take an id; False, and nothing else, where one that began alike was taken before."""
        half, parts = int.from_bytes(event_id[:8], sys.byteorder), self._parts
        part = parts[half % len(parts)]
        at = bisect_left(part, half)
        if at < len(part) and part[at] == half:
            return False
        part.insert(at, half)
        self._number += 1
        if self._number > MOST * len(parts):
            self._spread([half for part in parts for half in part])
        return True

    def put_too(self, event_id: bytes) -> None:
        """Take an id although one began alike."""
        half = int.from_bytes(event_id[:8], sys.byteorder)
        insort(self._parts[half % len(self._parts)], half)
        self._number += 1

    def forget(self, number: int) -> bool:
        """So many are gone; says whether most are, and what is left should be restored."""
        self._gone += number
        return self._gone > self._number >> 1

    def restore(self, ids: Iterable[bytes]) -> None:
        """Hold these and no others: bytes, each of many ids one after the other."""
        self._spread(array("Q", b"".join(ids))[::2])
        self._gone = 0

    def _spread(self, halves: Iterable[int]) -> None:
        ordered = sorted(halves)
        self._number = len(ordered)
        parts = self._parts = [array("Q") for _ in range(2 * len(ordered) // MOST + 1)]
        for half in ordered:
            parts[half % len(parts)].append(half)
