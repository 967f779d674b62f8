"""The best and the worst DIDs by a metric. Pure.

A DID is ranked while its metric rests on at least `least`. Best is highest, whatever the metric means; equal ones stand
in the order of their DIDs, so that the same figures give the same record.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from schemas import encode
from schemas.settings import Ranked, Window
from streams.headers import Headers, cloud_event
from streams.metrics import COUNTS, LEAST_OF_A_RATIO, RATIO, measure


class Places(NamedTuple):
    """DIDs with value and n, from either end."""

    best: list[tuple[str, float, int]]
    worst: list[tuple[str, float, int]]


class Ranking:
    """One ranking and all DIDs in it. Raises ValueError where WindowMetrics has no such metric."""

    def __init__(self, ranked: Ranked, windows: Sequence[Window]) -> None:
        if ranked.metric not in (*COUNTS, *RATIO):
            raise ValueError(f"WindowMetrics has no {ranked.metric!r}")
        self.ranked = ranked
        usual = 1 if ranked.metric in COUNTS else LEAST_OF_A_RATIO
        self.least = ranked.least if ranked.least is not None else usual
        self._measured = measure(ranked.metric)
        self._window = [window.name for window in windows].index(ranked.window)
        self._values: dict[str, tuple[float, int]] = {}
        self._written: Places | None = None

    def put(self, did: str, sums: Sequence[int]) -> None:
        """What a DID's windows hold now: nothing where it is gone."""
        value, n = self._measured(sums[self._window]) if sums else (None, 0)
        if value is None or n < self.least:
            self._values.pop(did, None)
        else:
            self._values[did] = value, n

    def take(self) -> Places | None:
        """Who stands where, if that has changed since it was last asked."""
        number, items = self.ranked.number, self._values.items()
        best = heapq.nsmallest(number, items, key=lambda item: (-item[1][0], item[0]))
        worst = heapq.nsmallest(number, items, key=lambda item: (item[1][0], item[0]))
        places = Places(*([(did, value, n) for did, (value, n) in end] for end in (best, worst)))
        if places == self._written:
            return None
        self._written = places
        return places

    def value(self, places: Places, as_of: int, header: bytes | None = None) -> bytes:
        """The framed DidRanking record; `header` is a registry's in place of the single-object one."""
        best, worst = ([{"did": did, "value": value, "n": n} for did, value, n in end] for end in places)
        about = {"metric": self.ranked.metric, "window": self.ranked.window, "least": self.least, "as_of": as_of}
        return encode("DidRanking", about | {"best": best, "worst": worst}, prefix=header)

    def headers(self, as_of: int) -> Headers:
        """The record's headers; it is identified by the ranking and as_of."""
        return cloud_event("DidRanking", f"{self.ranked.key}@{as_of}", as_of)
