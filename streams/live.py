"""The metrics of a DID as a record: value and CloudEvents headers. Pure.

The bytes are put together here, in the order of DidMetrics.avsc, without a dict of 135 fields for a generic encoder: a
fifth of its time. A test holds them equal to the codec's. Windows that hold the same are encoded once.
"""

from datetime import UTC, datetime
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from schemas import HEADERS
from schemas.encoding import array, long, text
from schemas.settings import Window
from streams import histogram, paths
from streams.bucket import MINUTE_MS, pack_counts
from streams.metrics import COUNTS, COUNTS_ONLY, HISTOGRAMS, RATIOS, lanes, window_metrics
from streams.table import Live, Span

Headers = list[tuple[str, bytes]]

_HEADER: Final = HEADERS["DidMetrics"]
_TYPE: Final = b"phonon.did-metrics.v1"
GROUPS: Final = b"phonon.group-metrics.v1"
_SOURCE: Final = b"/phonon/metrics"
_DOUBLE: Final = Struct("<d").pack
_UNKNOWN: Final = bytes(3)  # no menu, and null for the legs
_AT: Final = {name: n for n, name in enumerate(COUNTS)}
_RATIOS: Final = tuple(
    (tuple(_AT[name] for name in ratio.above), _AT[ratio.below], _AT[ratio.less] if ratio.less else None)
    for ratio in RATIOS
)


def value(live: Live, windows: tuple[Window, ...], header: bytes = _HEADER) -> bytes:
    """The framed DidMetrics record; `header` is a registry's in place of the single-object one."""
    end = (live.as_of // MINUTE_MS + 1) * MINUTE_MS
    done: dict[int, bytes] = {}
    parts = [header, text(live.did), long(live.as_of), long(len(windows))]
    for window, total, span in zip(windows, live.sums, _spans(live), strict=True):
        figures = done.get(total)
        if figures is None:
            figures = done[total] = _figures(total)
        parts += (_place(window, end), figures, _beside(span, window.seconds))
    settled = _settled_until(live)
    return b"".join([*parts, b"\0", b"\0" if settled is None else b"\2" + long(settled)])


def _spans(live: Live) -> tuple[Span | None, ...]:
    return live.spans or (None,) * len(live.sums)


def _settled_until(live: Live) -> int | None:
    """What was up before is known, unless a leg is longer than any that is: a call is told when it is over."""
    return live.as_of - live.longest_ms if live.spans else None


@lru_cache(maxsize=64)
def _place(window: Window, end: int) -> bytes:
    """Name, seconds, start and end of a window."""
    return text(window.name) + long(window.seconds) + long(end - window.seconds * 1000) + long(end)


def _figures(total: int) -> bytes:
    """Counts, ratios, percentiles and histograms."""
    values = lanes(total)
    out = [pack_counts(total & COUNTS_ONLY)]
    for above, below, less in _RATIOS:
        divisor = values[below] - (values[less] if less is not None else 0)
        out.append(b"\2" + _DOUBLE(sum([values[n] for n in above]) / divisor) if divisor else b"\0")
    held = histogram.bins(total >> HISTOGRAMS)
    for bins in held.values():
        for percent in histogram.PERCENTILES:
            ms = histogram.percentile(bins, percent)
            out.append(b"\0" if ms is None else b"\2" + long(ms))
    out += [array([long(ms) + long(calls) for ms, calls in bins]) for bins in held.values()]
    return b"".join(out)


def _beside(span: Span | None, seconds: int) -> bytes:
    """The menu, and the legs that were up at once."""
    if span is None:
        return _UNKNOWN
    menu = array([text(path) + long(flows) + long(left) for path, flows, left in paths.nodes(span.paths)])
    peak, legs_ms = span.busy
    most = b"\0" if peak is None else b"\2" + long(peak)
    return b"".join((menu, most, b"\2", _DOUBLE(legs_ms / (1000 * seconds))))


def as_dict(live: Live, windows: tuple[Window, ...]) -> dict[str, Any]:
    """The DidMetrics record as a dict."""
    end = (live.as_of // MINUTE_MS + 1) * MINUTE_MS
    rolled = [
        window_metrics(window.name, window.seconds, end, total) | _beside_as_dict(span, window.seconds)
        for window, total, span in zip(windows, live.sums, _spans(live), strict=True)
    ]
    return {"did": live.did, "as_of": live.as_of, "windows": rolled, "legs_settled_until": _settled_until(live)}


def _beside_as_dict(span: Span | None, seconds: int) -> dict[str, Any]:
    if span is None:
        return {"menu": [], "peak_legs": None, "mean_legs": None}
    menu = [node._asdict() for node in paths.nodes(span.paths)]
    return {"menu": menu, "peak_legs": span.busy.peak, "mean_legs": span.busy.legs_ms / (1000 * seconds)}


def headers(live: Live, type_: bytes = _TYPE) -> Headers:
    """CloudEvents, binary mode. A record is identified by DID and as_of."""
    return [("ce_id", f"{live.did}@{live.as_of}".encode()), *common_headers(type_, live.as_of)]


@lru_cache(maxsize=64)
def common_headers(type_: bytes, as_of: int) -> Headers:
    """The headers that all records of a type and a moment (ms) share."""
    seconds, ms = divmod(as_of, 1000)
    time = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", type_),
        ("ce_source", _SOURCE),
        ("ce_time", f"{time}.{ms:03d}Z".encode()),
        ("content-type", b"application/avro"),
    ]
