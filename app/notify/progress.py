"""How far each address is in a partition, and how that is kept in Kafka. Pure.

The offset that is committed is the least that any address still needs. How far each of them is stands beside it, in
the commit's metadata, so that after a restart an address that was well gets nothing again because another one was not.
An address is known there by a mark, a digest: its text may be a secret.
"""

import json
from collections import deque
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from app.notify.notification import Notification


def mark(url: str) -> str:
    """What an address is called in a commit."""
    return blake2b(url.encode(), digest_size=6).hexdigest()


class Progress:
    """One partition. `floors` are the offsets that the addresses need next, in their order."""

    def __init__(self, floors: Sequence[int]) -> None:
        self._begins = tuple(floors)
        self._position = min(floors)
        self._open: list[deque[int]] = [deque() for _ in floors]
        self._done: list[set[int]] = [set() for _ in floors]

    def take(self, offset: int) -> list[int]:
        """A message was read: the addresses that need it."""
        self._position = offset + 1
        wanted = [address for address, begin in enumerate(self._begins) if offset >= begin]
        for address in wanted:
            self._open[address].append(offset)
        return wanted

    def behind(self, offset: int) -> bool:
        """Whether a record stands before one that was read already: the topic was made anew, or cut off there."""
        return offset < self._position

    def skip(self, offset: int) -> None:
        """A record was read that is no message."""
        self._position = offset + 1

    def done(self, address: int, offset: int) -> None:
        """An address has a message, or will never have it."""
        open_, done = self._open[address], self._done[address]
        done.add(offset)
        while open_ and open_[0] in done:
            done.remove(open_.popleft())

    def waiting(self, address: int) -> int:
        """How many messages an address still needs."""
        return len(self._open[address]) - len(self._done[address])

    def floors(self) -> tuple[int, ...]:
        """The offset that each address needs next."""
        ends = (max(self._position, begin) for begin in self._begins)
        return tuple(open_[0] if open_ else end for open_, end in zip(self._open, ends, strict=True))


class Arrived(NamedTuple):
    """A message that was read, and the place that is settled with it."""

    notification: Notification
    progress: Progress
    offset: int
    wanted: Sequence[int]


def metadata(floors: Sequence[int], marks: Sequence[str]) -> str:
    """What is committed beside the least of the offsets."""
    return json.dumps(dict(zip(marks, floors, strict=True)), separators=(",", ":"))


def read_floors(offset: int, kept: str | None, marks: Sequence[str]) -> tuple[int, ...]:
    """How far a commit says each address is. A new one begins where the farthest is: old alerts are no news to it.

    Metadata that is not ours (offsets set by hand) counts as none: all begin at the offset.
    """
    try:
        known = {str(name): int(floor) for name, floor in json.loads(kept or "").items()}
    except (ValueError, TypeError, AttributeError, OverflowError):
        known = {}
    farthest = max([offset, *known.values()])
    return tuple(max(offset, known.get(name, farthest)) for name in marks)
