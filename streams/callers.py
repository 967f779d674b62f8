"""Who called a DID when: distinct and repeated callers, and calls after which nobody called again. Pure.

All windows end now, so a caller's latest call stands for him in every window that holds it: callers in a window are the
calls in it that are somebody's latest, callers who called again are those that are somebody's latest but one. So both
are counts of minutes as all others are, exact and not estimated; a call that comes moves at most two of them. A call
that was answered without an agent is contained as long as the same caller has no other within REPEAT_MS of it, not
before. Two calls at one moment are each other's repeat.
A caller is a token of 64 bits. Calls are times, ms since 1970 UTC, with one bit: whether an agent was not needed.
"""

from bisect import bisect
from collections.abc import Iterable, Sequence
from typing import Final

from streams.metrics import ONE

REPEAT_MS: Final = 3_600_000

_LATEST: Final = ONE["callers"]
_BEFORE: Final = ONE["repeat_callers"]
_CONTAINED: Final = ONE["flows_contained"]
_LATEST_ALONE: Final = _LATEST + _CONTAINED

Change = tuple[int, int]
"""When, ms, and one of one of the counts more or less in that minute."""


class Callers:
    """The calls of a DID by caller. Most have called once: theirs is a bare number."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[int, int | tuple[int, ...]] = {}

    def add(self, caller: int, at: int, alone: bool) -> tuple[int, list[Change]]:
        """Take a call: what it counts for, and what it changes. `alone`: it was answered, and no agent was called."""
        call, calls = at << 1 | alone, self._calls
        held = calls.get(caller)
        if held is None:
            calls[caller] = call
            return (_LATEST_ALONE if alone else _LATEST), []
        before = (held,) if isinstance(held, int) else held
        place = bisect(before, call)
        after = calls[caller] = (*before[:place], call, *before[place:])
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
        by_caller: dict[int, list[int]] = {}
        for caller, call in calls:
            by_caller.setdefault(caller, []).append(call)
        self._calls = {
            caller: tuple(sorted(found)) if len(found) > 1 else found[0] for caller, found in by_caller.items()
        }

    def forget(self, caller: int, before: int) -> None:
        """Let a caller's calls before that moment, ms, go."""
        held = self._calls.pop(caller, ())
        left = [call for call in ((held,) if isinstance(held, int) else held) if call >> 1 >= before]
        if left:
            self._calls[caller] = tuple(left) if len(left) > 1 else left[0]


def _contained(calls: Sequence[int], n: int) -> int:
    """What one of a caller's calls adds to those that were contained."""
    at = calls[n] >> 1
    followed = n + 1 < len(calls) and calls[n + 1] >> 1 <= at + REPEAT_MS
    with_another = n > 0 and calls[n - 1] >> 1 == at
    return _CONTAINED if calls[n] & 1 and not followed and not with_another else 0
