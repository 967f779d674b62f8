"""Who called a DID when: distinct and repeated callers, and calls after which nobody called again. Pure.

All windows end now, so a caller's latest call stands for him in every window that holds it: callers in a window are the
calls in it that are somebody's latest, callers who called again are those that are somebody's latest but one. So both
are counts of minutes as all others are, exact and not estimated; a call that comes moves at most two of them. A call
that was answered without an agent is contained as long as the same caller has no other within REPEAT_MS of it, not
before. Two calls at one moment are each other's repeat.
A caller is a token of 64 bits. Calls are times, ms since 1970 UTC, with one bit: whether an agent was not needed.
"""

from array import array
from bisect import bisect, bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

from streams.metrics import ONE

REPEAT_MS: Final = 3_600_000

_LATEST: Final = ONE["callers"]
_BEFORE: Final = ONE["repeat_callers"]
_CONTAINED: Final = ONE["flows_contained"]
_LATEST_ALONE: Final = _LATEST + _CONTAINED
_NOBODY: Final = array("Q")
_NO_CALLS: Final = array("q")

Calls = tuple[int, ...]
Change = tuple[int, int]
"""When, ms, and one of one of the counts more or less in that minute."""


class Callers:
    """The calls of a DID by caller, from `since` on. Those of callers who called lately stand in a dictionary.

    The others, 16 bytes each, lie in order of their callers; what stands in the dictionary too counts no more there.
    """

    __slots__ = ("_callers", "_calls", "_fresh", "_since")

    def __init__(self) -> None:
        self._fresh: dict[int, Calls] = {}
        self._callers, self._calls = _NOBODY, _NO_CALLS
        self._since = -(1 << 63)  # as calls are kept

    def add(self, caller: int, at: int, alone: bool) -> tuple[int, list[Change]]:
        """Take a call: what it counts for, and what it changes. `alone`: it was answered, and no agent was called."""
        call, fresh = at << 1 | alone, self._fresh
        before = fresh.get(caller) or (self._held(caller) if self._callers else ())
        if not before or before[-1] < self._since:
            fresh[caller] = (call,)
            return (_LATEST_ALONE if alone else _LATEST), []
        before = tuple([one for one in before if one >= self._since])
        place = bisect(before, call)
        after = fresh[caller] = (*before[:place], call, *before[place:])
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

    def restore(self, calls: Iterable[tuple[int, int]]) -> None:
        """Take calls whose counts are known: callers, and their calls as they are kept."""
        ordered = sorted(calls)
        self._callers = array("Q", [caller for caller, _ in ordered])
        self._calls = array("q", [call for _, call in ordered])

    def forget(self, before: int) -> None:
        """Let calls before that moment, ms, go."""
        self._since = max(self._since, before << 1)

    def rest(self) -> None:
        """Put the latest to the others, once that is worth it."""
        if len(self._fresh) >= len(self._callers) >> 3:
            old = [one for one in zip(self._callers, self._calls, strict=True) if one[0] not in self._fresh]
            new = [(caller, call) for caller, calls in self._fresh.items() for call in calls]
            self.restore([one for one in (*old, *new) if one[1] >= self._since])
            self._fresh = {}

    def _held(self, caller: int) -> Calls:
        callers = self._callers
        first = bisect_left(callers, caller)
        if first == len(callers) or callers[first] != caller:
            return ()
        return tuple(self._calls[first : bisect(callers, caller, first)])


def _contained(calls: Sequence[int], n: int) -> int:
    """What one of a caller's calls adds to those that were contained."""
    at = calls[n] >> 1
    followed = n + 1 < len(calls) and calls[n + 1] >> 1 <= at + REPEAT_MS
    with_another = n > 0 and calls[n - 1] >> 1 == at
    return _CONTAINED if calls[n] & 1 and not followed and not with_another else 0
