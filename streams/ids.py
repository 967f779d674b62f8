"""Which flows of a DID are counted: the first halves of their ids, in order. Pure.

A half is 8 bytes, found by bisection and put in its place as it comes. Where one is met again, the buckets say whether
it is the flow. To make room in a list of a hundred thousand costs more than all else of a flow: beyond MANY, the latest
have a list of their own.
"""

import sys
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Final

MANY: Final = 4096
_NONE: Final = array("Q")


class Ids:
    """Ids of 16 bytes. Those that are gone are told by number only, and forgotten with the next `restore`."""

    __slots__ = ("_gone", "_latest", "_others")

    def __init__(self) -> None:
        self._latest, self._others = array("Q"), _NONE
        self._gone = 0

    def put(self, event_id: bytes) -> bool:
        """Take an id; False, and nothing else, where one that began alike was taken before."""
        half, latest, others = int.from_bytes(event_id[:8], sys.byteorder), self._latest, self._others
        at = bisect_left(latest, half)
        if at < len(latest) and latest[at] == half:
            return False
        if others:
            before = bisect_left(others, half)
            if before < len(others) and others[before] == half:
                return False
        latest.insert(at, half)
        if len(latest) > MANY:
            self._latest, self._others = array("Q"), array("Q", sorted([*others, *latest]))
        return True

    def put_too(self, event_id: bytes) -> None:
        """Take an id though one began alike."""
        insort(self._latest, int.from_bytes(event_id[:8], sys.byteorder))

    def forget(self, number: int) -> bool:
        """So many are gone; whether most are, so that it is time to restore what is left."""
        self._gone += number
        return self._gone > (len(self._latest) + len(self._others)) >> 1

    def restore(self, ids: Iterable[bytes]) -> None:
        """These are all: ids, many one after the other."""
        halves = array("Q", sorted(array("Q", b"".join(ids))[::2]))
        self._latest, self._others = (halves, _NONE) if len(halves) <= MANY else (array("Q"), halves)
        self._gone = 0
