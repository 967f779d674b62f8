"""What a caller did in the voice menu: the first choices, how long the first took, how long the call went on after.

Pure. Four keys or more, each within ENTRY_GAP_MS of the one before, are somebody's number being typed and no choices
in a menu: of such a run only DATA is told, so that no metric ever holds an account number or a PIN. A key whose time is
not known counts as typed at once with the one before; a text of several characters is one choice only if it is none.
Source: issue 8, point 3; times are ms since 1970 UTC, spans ms.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

DEPTH: Final = 3
ENTRY_KEYS: Final = 4
ENTRY_GAP_MS: Final = 1_500
KEYS: Final = frozenset("0123456789*#")
DATA: Final = "data"
OTHER: Final = "other"


class Press(NamedTuple):
    """A key and when it was pressed, None where that is not known."""

    key: str
    at: int | None


def path(presses: Sequence[Press]) -> list[str]:
    """The first DEPTH choices; presses in their order."""
    choices: list[str] = []
    for run in _runs(presses):
        keys = [press.key for press in run]
        if sum(map(len, keys)) >= ENTRY_KEYS:
            choices.append(DATA)
        else:
            choices += [key if key in KEYS else OTHER for key in keys]
    return choices[:DEPTH]


def _runs(presses: Sequence[Press]) -> list[list[Press]]:
    """Presses that follow each other closely, together."""
    runs: list[list[Press]] = []
    last: int | None = None
    for press in presses:
        if runs and (press.at is None or last is None or press.at - last <= ENTRY_GAP_MS):
            runs[-1].append(press)
        else:
            runs.append([press])
        last = press.at if press.at is not None else last
    return runs
