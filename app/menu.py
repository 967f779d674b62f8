"""What a caller did in the voice menu: the first choices, how long the first took, how long the call went on after.

Pure. Four keys or more, each within ENTRY_GAP_MS of the one before, are somebody typing a number, not choosing from a
menu: such a run is told as DATA, so that no metric ever holds an account number or a PIN. A key without a time belongs
to the run before it. A press of several characters is that many keys of a run, else one choice: OTHER.
Source: issue 8, point 3; times are ms since 1970 UTC, spans ms.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

DEPTH: Final = 3
ENTRY_KEYS: Final = 4
ENTRY_GAP_MS: Final = 1_500
KEYS: Final = frozenset("0123456789*#")
DATA: Final = "data"
OTHER: Final = "other"
SEPARATOR: Final = ">"
#: What stands for each choice where keys are not to be told.
HIDDEN: Final = "key"


class Press(Struct, gc=False):
    """A key and when it was pressed, None where that is not known."""

    key: str
    at: int | None


class OnLeg(Struct, gc=False):
    """What was pressed on a leg, in its order, and when the leg was connected and ended."""

    presses: list[Press]
    connected_at: int | None
    ended_at: int | None


class Menu(Struct, gc=False):
    """What a flow tells of the voice menu; None where it is not known."""

    path: str | None
    time_to_first_key_ms: int | None
    time_after_last_key_ms: int | None


NO_MENU: Final = Menu(None, None, None)


def menu(legs: Sequence[OnLeg]) -> Menu:
    """What was chosen on a flow's visitor legs; those without a press say nothing."""
    pressed = [leg for leg in legs if leg.presses]
    if not pressed:
        return NO_MENU
    choices = path([press for leg in pressed for press in leg.presses])
    first, last = pressed[0], pressed[-1]
    return Menu(
        SEPARATOR.join(choices),
        _span(first.connected_at, first.presses[0].at),
        _span(last.presses[-1].at, last.ended_at),
    )


def hidden(told: str) -> str:
    """A path that tells only its length."""
    return SEPARATOR.join([HIDDEN] * len(told.split(SEPARATOR)))


def _span(start: int | None, end: int | None) -> int | None:
    return end - start if start is not None and end is not None and end >= start else None


def path(presses: Sequence[Press]) -> list[str]:
    """The first DEPTH choices; presses in their order."""
    choices: list[str] = []
    for keys in _runs(presses):
        if sum(map(len, keys)) >= ENTRY_KEYS:
            choices.append(DATA)
        else:
            choices += [key if key in KEYS else OTHER for key in keys]
    return choices[:DEPTH]


def _runs(presses: Sequence[Press]) -> list[list[str]]:
    """Keys that follow each other closely, together."""
    runs: list[list[str]] = []
    last: int | None = None
    for press in presses:
        if runs and (press.at is None or last is None or press.at - last <= ENTRY_GAP_MS):
            runs[-1].append(press.key)
        else:
            runs.append([press.key])
        last = press.at if press.at is not None else last
    return runs
