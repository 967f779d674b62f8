"""Distributions: how many calls took how long, in bins of one fixed logarithmic scale. Pure.

The bins of all kinds are numbered, and calls are tallied by these numbers, as they are by the paths of the menu: so
histograms add up, leave a window and merge over DIDs. A bin's middle stands for all that is in it: it is at most ERROR
off for values from FIRST_MS to LAST_MS, shorter ones are less than FIRST_MS / 2 off, longer ones count as LAST_MS.
Percentiles are by nearest rank: the least value that is not below the given share of all.
Source of the scale: DDSketch (Masson, Rim, Lee, VLDB 2019), whose bound on the relative error is (g - 1) / (g + 1).
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

KINDS: Final = ("talk", "ring", "time_to_agent")
PERCENTILES: Final = (50, 90, 95)

GROWTH: Final = 1.09
FIRST_MS: Final = 200
BINS: Final = 128
ERROR: Final = (GROWTH - 1) / (GROWTH + 1)  # 4.3 %

_EDGES: Final = tuple(FIRST_MS * GROWTH**n for n in range(BINS - 1))
#: Where each bin but the first begins: the first whole ms in it.
EDGES: Final = tuple(map(math.ceil, _EDGES))
LAST_MS: Final = math.floor(_EDGES[-1])  # 2.9 hours
#: What stands for each bin: of all values in it, none is further off than ERROR.
MIDDLES: Final = (FIRST_MS // 2, *(round(2 * edge * GROWTH / (1 + GROWTH)) for edge in _EDGES[:-1]), LAST_MS)

_NUMBER: Final = {middle: n for n, middle in enumerate(MIDDLES)}

#: The number of the first bin of each kind; all are below NUMBERS.
FIRST: Final = {kind: BINS * k for k, kind in enumerate(KINDS)}
NUMBERS: Final = BINS * len(KINDS)
#: What stands for a bin, by its number, ms.
MIDDLE_OF: Final = MIDDLES * len(KINDS)

Tallies = list[tuple[int, int]]
"""By number, how many calls."""


def by_kind(tallies: Iterable[tuple[int, int]]) -> list[Tallies]:
    """The tallies of each kind, shortest first; numbers that are of no bin are passed over."""
    held = sorted(tallies)
    ends = [bisect_left(held, (first + BINS,)) for first in FIRST.values()]
    return [held[begin:end] for begin, end in zip((0, *ends), ends, strict=False)]


def tallied(held: Mapping[str, Iterable[tuple[int, int]]]) -> Tallies:
    """The tallies of histograms by kind, of middles and calls. Raises ValueError where a time is no bin's middle."""
    try:
        return [(FIRST[kind] + _NUMBER[ms], calls) for kind, bins in held.items() for ms, calls in bins]
    except KeyError as error:
        raise ValueError(f"no bin of ours: {error}") from None


def percentiles(held: Sequence[tuple[int, int]]) -> list[int]:
    """In which of these bins each of PERCENTILES lies, by nearest rank; none where there is no call."""
    if not held:
        return []
    up_to = list(accumulate([calls for _, calls in held]))
    ranks = [-(-up_to[-1] * percent // 100) for percent in PERCENTILES]
    return [held[bisect_left(up_to, rank)][0] for rank in ranks]
