"""Who called a DID when: distinct and repeat callers, and calls after which the caller did not call again. Pure.

All windows end now, so a caller's latest call stands for the caller in every window that holds it: the callers in a
window are the calls in it that are somebody's latest, those who called again the calls that are somebody's latest but
one. So both are counts of minutes as all others are, exact and not estimated; a new call moves at most two of them. A
call that was answered without an agent is contained as long as its caller has no other within REPEAT_MS after it. Two
calls at one moment are each other's repeat.
A caller is a token of 64 bits. Calls are times, ms since 1970 UTC, with one more bit: whether no agent was needed. They
lie in the order of their callers, 16 bytes each, in parts by token: in one list of a hundred thousand, making room for
a call costs more than everything else about it.
"""

from array import array
from bisect import bisect, bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

from streams.metrics import ONE

REPEAT_MS: Final = 3_600_000
MOST: Final = 4096  # calls in a part, on average

_LATEST: Final = ONE["callers"]
_BEFORE: Final = ONE["repeat_callers"]
_CONTAINED: Final = ONE["flows_contained"]
_LATEST_ALONE: Final = _LATEST + _CONTAINED

Change = tuple[int, int]
"""When, ms, and by how much the counts of that minute change: one more or one less of one of them."""

NO_CHANGES: Final[Sequence[Change]] = ()


class Callers:
    """The calls of a DID by caller, from `since` on."""

    __slots__ = ("_gone", "_number", "_parts", "_since")

    def __init__(self) -> None:
        self._parts: list[tuple[array[int], array[int]]] = [(array("Q"), array("q"))]  # callers, and their calls
        self._number = self._gone = 0
        self._since = -(1 << 63)  # as calls are kept

    def add(self, caller: int, at: int, alone: bool) -> tuple[int, Sequence[Change]]:
        """Take a call: what it counts for, and what it changes. `alone`: it was answered, and no agent was called."""
        call, parts = at << 1 | alone, self._parts
        callers, calls = parts[caller % len(parts)]
        first = bisect_left(callers, caller)
        if first < len(callers) and callers[first] == caller:
            end = bisect(callers, caller, first)
            begin = bisect_left(calls, self._since, first, end)
            place = bisect(calls, call, begin, end)
            near = max(begin, place - 2)
            before = calls[near : min(end, place + 2)].tolist()  # no others count: one can have called 50,000 times
            callers.insert(end, caller)
            calls.insert(place, call)
            del callers[first:begin], calls[first:begin]
            self._grow(1 + first - begin)
            if before:
                return _changes(before, call, place - near)
        else:
            callers.insert(first, caller)
            calls.insert(first, call)
            self._grow(1)
        return (_LATEST_ALONE if alone else _LATEST), NO_CHANGES

    def restore(self, calls: Iterable[tuple[int, int]]) -> None:
        """Hold these calls, which are counted, and no others: callers, and their calls as they are kept."""
        ordered = sorted(calls)
        self._number, self._gone = len(ordered), 0
        self._parts = [(array("Q"), array("q")) for _ in range(2 * len(ordered) // MOST + 1)]
        for caller, call in ordered:
            callers, own = self._parts[caller % len(self._parts)]
            callers.append(caller)
            own.append(call)

    def forget(self, before: int, number: int) -> None:
        """Let go of the calls before that moment, ms: so many more than last time."""
        self._since = max(self._since, before << 1)
        self._gone += number
        if self._gone > self._number >> 1:
            self.restore([one for one in self._all() if one[1] >= self._since])

    def _grow(self, number: int) -> None:
        self._number += number
        if self._number > MOST * len(self._parts):
            self.restore(self._all())

    def _all(self) -> list[tuple[int, int]]:
        return [one for part in self._parts for one in zip(*part, strict=True)]


def _changes(before: list[int], call: int, place: int) -> tuple[int, list[Change]]:
    """What a call put at that place among a caller's calls counts for, and what it changes of the others.

    Two on each side are enough of them: one changes with the one beside it, or as the latest but one.
    """
    after = [*before[:place], call, *before[place:]]
    neighbours = [(n, n - (n > place)) for n in (place - 1, place + 1) if 0 <= n < len(after)]
    changes = [(after[n] >> 1, _contained(after, n) - _contained(before, was)) for n, was in neighbours]
    own = _contained(after, place)
    if place == len(before):
        own += _LATEST
        changes += [(before[-1] >> 1, -_LATEST), (before[-1] >> 1, _BEFORE)]
    elif place == len(before) - 1:
        own += _BEFORE
    if place >= len(before) - 1 and len(before) > 1:
        changes.append((before[-2] >> 1, -_BEFORE))
    return own, [change for change in changes if change[1]]


def _contained(calls: Sequence[int], n: int) -> int:
    """What one of a caller's calls adds to the number of contained ones."""
    at = calls[n] >> 1
    followed = n + 1 < len(calls) and calls[n + 1] >> 1 <= at + REPEAT_MS
    with_another = n > 0 and calls[n - 1] >> 1 == at
    return _CONTAINED if calls[n] & 1 and not followed and not with_another else 0
