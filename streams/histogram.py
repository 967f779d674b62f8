"""Distributions: how many calls took how long, in bins of one fixed logarithmic scale. Pure.

The bins are lanes of the same integer as the counts (see metrics), 32 bits each, so that histograms add up, leave a
window and merge over DIDs by the very additions that counts do. A bin's middle stands for all that is in it: it is at
most ERROR off for values from FIRST_MS to LAST_MS, shorter ones are less than FIRST_MS / 2 off, longer ones count as
LAST_MS. Percentiles are by nearest rank: the least value that is not below the given share of all.
Source of the scale: DDSketch (Masson, Rim, Lee, VLDB 2019), whose bound on the relative error is (g - 1) / (g + 1).
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, compress
from typing import Final

KINDS: Final = ("talk", "ring", "time_to_agent")
PERCENTILES: Final = (50, 90, 95)

GROWTH: Final = 1.09
FIRST_MS: Final = 200
BINS: Final = 128
ERROR: Final = (GROWTH - 1) / (GROWTH + 1)  # 4.3 %

#: Where each bin but the first begins.
EDGES: Final = tuple(FIRST_MS * GROWTH**n for n in range(BINS - 1))
LAST_MS: Final = math.floor(EDGES[-1])  # 2.9 hours
#: What stands for each bin: of all values in it, none is further off than ERROR.
MIDDLES: Final = (FIRST_MS // 2, *(round(2 * edge * GROWTH / (1 + GROWTH)) for edge in EDGES[:-1]), LAST_MS)

_NUMBER: Final = {middle: n for n, middle in enumerate(MIDDLES)}

LANE_BITS: Final = 32
LANES: Final = BINS * len(KINDS)
_BYTES: Final = LANE_BITS // 8 * BINS
#: Kind -> what one call in each bin adds to the integer of all histograms.
ONES: Final[Mapping[str, Sequence[int]]] = {
    kind: tuple(1 << LANE_BITS * (BINS * k + n) for n in range(BINS)) for k, kind in enumerate(KINDS)
}

Bins = list[tuple[int, int]]
"""The bins that are not empty: middle in ms, and how many calls."""


def bin_of(ms: int) -> int:
    """The number of the bin that a time is in."""
    return bisect_right(EDGES, ms)


def one(kind: str, ms: int) -> int:
    """What a call that took so long adds to the integer of all histograms."""
    return ONES[kind][bin_of(ms)]


def bins(total: int) -> dict[str, Bins]:
    """The histograms in their integer, by kind."""
    data = total.to_bytes(len(KINDS) * _BYTES, "little") if total else b""
    return {kind: _bins(data[k * _BYTES : (k + 1) * _BYTES]) for k, kind in enumerate(KINDS)}


def _bins(data: bytes) -> Bins:
    if not data.strip(b"\0"):
        return []
    calls = array("I", data)
    return list(compress(zip(MIDDLES, calls, strict=True), calls))


def joined(held: Mapping[str, Iterable[tuple[int, int]]]) -> int:
    """The integer of histograms given by kind; `bins` undone. Raises ValueError where a time is no bin's middle."""
    try:
        calls = [(ONES[kind][_NUMBER[ms]], calls) for kind, bins in held.items() for ms, calls in bins]
    except KeyError as error:
        raise ValueError(f"no bin of ours: {error}") from None
    return sum([one * calls for one, calls in calls])


def percentiles(held: Bins) -> list[int | None]:
    """The values, ms, that so many percent as PERCENTILES says are not above; None where there is no call."""
    if not held:
        return [None] * len(PERCENTILES)
    up_to = list(accumulate([calls for _, calls in held]))
    ranks = [-(-up_to[-1] * percent // 100) for percent in PERCENTILES]
    return [held[bisect_left(up_to, rank)][0] for rank in ranks]
