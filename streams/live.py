"""The metrics of a DID as a record: value and CloudEvents headers. Pure.

The bytes are put together here, in the order of DidMetrics.avsc, without a dict of 135 fields for a generic encoder, in
a fifth of its time. A test holds them equal to what the codec makes of the dict of tests/did_metrics.py. Windows that
hold the same are encoded once.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from struct import Struct
from typing import Final, NamedTuple

from schemas import HEADERS
from schemas.encoding import array, long, text
from schemas.settings import Window
from streams import histogram, paths
from streams.bucket import AMONG, MINUTE_MS, SPANS
from streams.headers import Headers, cloud_event
from streams.lines import Busy
from streams.metrics import AMOUNTS, COUNTS, LANE, RATIOS, lanes

_HEADER: Final = HEADERS["DidMetrics"]
_DOUBLE: Final = Struct("<d").pack
_NOT_A_BYTE: Final = sum(((1 << 64) - 64) << LANE[name] for name in COUNTS if name not in AMOUNTS)
_DOUBLED: Final = bytes(2 * n & 0xFF for n in range(256))
_MIDDLE: Final = [long(ms) for ms in histogram.MIDDLE_OF]
_SOME_MIDDLE: Final = [b"\2" + middle for middle in _MIDDLE]
_NO_PERCENTILES: Final = [bytes(len(histogram.PERCENTILES))]
_PARTS: Final = Struct("x".join(f"{end - begin}s" for begin, end in SPANS))

_Term = tuple[tuple[str, ...], tuple[str, ...]]
"""Counts that are added, and counts that are taken off."""

_ABOVE: Final[list[_Term]] = [(ratio.above, ()) for ratio in RATIOS]
_BELOW: Final[list[_Term]] = [((ratio.below,), (ratio.less,) if ratio.less else ()) for ratio in RATIOS]
_SUMS: Final = [term for term in (*_ABOVE, *_BELOW) if len(term[0]) > 1 or term[1]]
_SUMS_AT: Final = [[[COUNTS.index(name) for name in names] for names in term] for term in _SUMS]


def _picked(terms: Sequence[_Term]) -> Callable[[Sequence[int]], tuple[int, ...]]:
    """A function that takes these out of all counts with the sums behind them."""
    return itemgetter(*[len(COUNTS) + _SUMS.index(t) if t in _SUMS else COUNTS.index(t[0][0]) for t in terms])


_above, _below = _picked(_ABOVE), _picked(_BELOW)


class Span(NamedTuple):
    """What a window holds besides its counts: tallies (see histogram and paths), and how many legs were up at once."""

    tallies: list[tuple[int, int]]
    busy: Busy


NO_SPAN: Final = Span([], Busy(None, 0))


class Live(NamedTuple):
    """The sums of the windows of a DID or group, in the order of the settings, at `as_of` (ms).

    `longest_ms`: how long the longest leg was up.
    """

    did: str
    as_of: int
    sums: tuple[int, ...]
    spans: tuple[Span, ...]
    longest_ms: int


def value(live: Live, windows: tuple[Window, ...], header: bytes = _HEADER) -> bytes:
    """The framed DidMetrics record; `header` is a registry's in place of the single-object one."""
    end = (live.as_of // MINUTE_MS + 1) * MINUTE_MS
    total_before, tallies_before, figures, menu = -1, list[tuple[int, int]](), b"", b""
    parts = [header, text(live.did), long(live.as_of), long(len(windows))]
    for window, total, span in zip(windows, live.sums, live.spans, strict=True):
        if total != total_before or span.tallies != tallies_before:
            total_before, tallies_before = total, span.tallies
            figures, menu = _figures(total, span.tallies), _menu(span.tallies)
        parts += (_place(window, end), figures, menu, _legs(span.busy, window.seconds))
    # what was up before is known, unless a leg is longer than any that is: a call is told when it is over
    settled_until = live.as_of - live.longest_ms
    return b"".join([*parts, b"\0\2", long(settled_until)])


@lru_cache(maxsize=64)
def _place(window: Window, end: int) -> bytes:
    """Name, seconds, start and end of a window."""
    return text(window.name) + long(window.seconds) + long(end - window.seconds * 1000) + long(end)


def pack_counts(total: int) -> bytes:
    """The counts as Avro longs. As a rule all but the amounts are below 64, a byte each, and made all at once."""
    if total & _NOT_A_BYTE:
        return b"".join(map(long, lanes(total)))
    raw = total.to_bytes(AMONG.size, "little")
    parts = _PARTS.unpack(raw[::8].translate(_DOUBLED))
    amounts = map(long, AMONG.unpack(raw))
    return b"".join([*[part for two in zip(parts, amounts, strict=False) for part in two], parts[-1]])


def _figures(total: int, tallies: list[tuple[int, int]]) -> bytes:
    """Counts, ratios, percentiles and histograms."""
    values = lanes(total)
    out = [pack_counts(total)]
    all_ = *values, *[sum([values[n] for n in more]) - sum([values[n] for n in less]) for more, less in _SUMS_AT]
    pairs = zip(_above(all_), _below(all_), strict=True)
    out += [b"\2" + _DOUBLE(above / below) if below else b"\0" for above, below in pairs]
    kinds = histogram.by_kind(tallies)
    for held in kinds:
        out += [_SOME_MIDDLE[number] for number in histogram.percentiles(held)] or _NO_PERCENTILES
    out += [array([*map(_bin, held)]) for held in kinds]
    return b"".join(out)


@lru_cache(maxsize=16_384)
def _bin(tally: tuple[int, int]) -> bytes:
    """A bin as it is written: what stands for it, and its calls."""
    number, calls = tally
    return _MIDDLE[number] + long(calls)


def _menu(tallies: list[tuple[int, int]]) -> bytes:
    return array([text(path) + long(flows) + long(left) for path, flows, left in paths.nodes(tallies)])


def _legs(busy: Busy, seconds: int) -> bytes:
    """The legs that were up at once."""
    most = b"\0" if busy.peak is None else b"\2" + long(busy.peak)
    return most + b"\2" + _DOUBLE(busy.legs_ms / (1000 * seconds))


def headers(live: Live, record: str = "DidMetrics") -> Headers:
    """The record's headers; it is identified by its DID, or group, and as_of."""
    return cloud_event(record, f"{live.did}@{live.as_of}", live.as_of)
