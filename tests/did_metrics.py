"""The DidMetrics record as a dict, made the readable way; what streams/live.py makes as bytes is held to it."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from schemas.settings import Window
from streams import paths
from streams.bucket import MINUTE_MS
from streams.histogram import EDGES, FIRST, KINDS, MIDDLE_OF, by_kind, percentiles
from streams.histogram import PERCENTILES as PERCENTS
from streams.live import Live
from streams.metrics import COUNTS, PERCENTILES, RATIOS, Ratio, lanes

Tallies = Iterable[tuple[int, int]]


def number(kind: str, ms: int) -> int:
    """The number of the bin for a call that took so long."""
    return FIRST[kind] + bisect_right(EDGES, ms)


def bins(tallies: Tallies) -> dict[str, list[tuple[int, int]]]:
    """The histograms by kind: the middle (ms) and the calls of each bin that is not empty."""
    kinds = zip(KINDS, by_kind(tallies), strict=True)
    return {kind: [(MIDDLE_OF[number_], calls) for number_, calls in held] for kind, held in kinds}


def ratios(values: Mapping[str, int]) -> dict[str, float | None]:
    """Every ratio of the counts; null where its denominator is 0."""
    return {ratio.name: _quotient(ratio, values) for ratio in RATIOS}


def _quotient(ratio: Ratio, values: Mapping[str, int]) -> float | None:
    below = values[ratio.below] - (values[ratio.less] if ratio.less else 0)
    return sum(values[name] for name in ratio.above) / below if below else None


def window_metrics(name: str, seconds: int, end: int, total: int, tallies: Tallies) -> dict[str, Any]:
    """Counts, ratios and distributions of a WindowMetrics record. `end`: ms, the first moment after the window."""
    values = dict(zip(COUNTS, lanes(total), strict=True))
    window = {"name": name, "seconds": seconds, "start": end - seconds * 1000, "end": end}
    held = bins(tallies)
    none = [None] * len(PERCENTS)
    values_of = [ms for kind in KINDS for ms in percentiles(held[kind]) or none]
    distributions = {f"{kind}_bins": [{"ms": ms, "calls": calls} for ms, calls in held[kind]] for kind in KINDS}
    return window | values | ratios(values) | dict(zip(PERCENTILES, values_of, strict=True)) | distributions


def as_dict(live: Live, windows: tuple[Window, ...]) -> dict[str, Any]:
    """The whole record."""
    end = (live.as_of // MINUTE_MS + 1) * MINUTE_MS
    rolled = [
        window_metrics(window.name, window.seconds, end, total, span.tallies)
        | {"menu": [node._asdict() for node in paths.nodes(span.tallies)]}
        | {"peak_legs": span.busy.peak, "mean_legs": span.busy.legs_ms / (1000 * window.seconds)}
        for window, total, span in zip(windows, live.sums, live.spans, strict=True)
    ]
    settled_until = live.as_of - live.longest_ms
    return {"did": live.did, "as_of": live.as_of, "windows": rolled, "legs_settled_until": settled_until}
