"""What of a DidMetrics record is added up. Pure.

A generic decoder makes a dict of each window and of each of its bins, 84 fields of which half are wanted. So what
`live` put together is taken apart here, in the order of DidMetrics.avsc, a window by one regular expression (see
decoding), and windows that hold the same are read once: 0.3 of its time. That is for the present schema and the
windows that are set; all else goes to the codec. A test holds both ways to the same.
"""

import re
from functools import cache, partial
from operator import itemgetter
from struct import Struct
from typing import Any, Final

from schemas import HEADERS, Resolve, Undecodable, body_at, decode
from schemas.encoding import long, text
from schemas.memo import Memo
from schemas.settings import Window
from streams import decoding, histogram, paths
from streams.decoding import TEXT, VARINTS
from streams.lines import Busy
from streams.live import NO_SPAN, Live, Span
from streams.metrics import COUNTS, PERCENTILES, RATIOS, joined
from streams.paths import Node

_HEADER: Final = HEADERS["DidMetrics"]
_COUNTS: Final = itemgetter(*COUNTS)
_DOUBLE: Final = Struct("<d")


def _pattern(written: str) -> re.Pattern[bytes]:
    return re.compile(written.encode("latin-1"), re.DOTALL)


_LONG: Final = r"[\x80-\xff]{0,8}+[\0-\x7f]"  # below 2^62
_SOME: Final = r"(?:[\x80-\xff]{1,8}+[\0-\x7f]|[\x01-\x7f])"  # a varint, but not the 0 that ends an array
_NODE: Final = (rf"(?!\0){TEXT}", _LONG, _LONG)
_NODES: Final = _pattern("".join([f"({part})" for part in _NODE]))
_PAIRS: Final = _pattern(_SOME * 2).findall
_BEGIN: Final = _pattern(f"({TEXT})({_LONG})")
_TIMES: Final = _pattern(_LONG * 2)
_FIGURES: Final = _pattern(
    rf"((?:{_LONG}){{{len(COUNTS)}}})(?:\0|\x02.{{8}}){{{len(RATIOS)}}}(?:\0|\x02{_LONG}){{{len(PERCENTILES)}}}"
    + rf"(?:\0|({_SOME})((?:{_SOME}{_SOME})++)\0)" * len(histogram.KINDS)
    + rf"(?:\0|({_SOME})((?:{''.join(_NODE)})++)\0)"
)
_LEGS: Final = _pattern(rf"(?:\0|\x02({_LONG}))(?:\0|\x02(.{{8}}))")
_END: Final = _pattern(rf"\0(?:\0|\x02({_LONG}))\Z")

_NUMBER: Final = Memo(decoding.number)
_PATH: Final = Memo[bytes, str](lambda written: written[1:].decode(), most=4096)
#: The number of each bin by what stands for it, kind by kind.
_BINS: Final = [
    {long(histogram.MIDDLE_OF[number]): number for number in range(first, first + histogram.BINS)}
    for first in histogram.FIRST.values()
]


def _tally(numbers: dict[bytes, int], written: bytes) -> tuple[int, int]:
    """A bin as it is written: what stands for it, and its calls."""
    middle, calls = VARINTS(written)
    return numbers[middle], _NUMBER[calls]


_TALLIES: Final = [Memo(partial(_tally, numbers)) for numbers in _BINS]


def read(value: bytes | None, windows: tuple[Window, ...], resolve: Resolve) -> Live:
    """What these windows hold: nothing where the record has no such window. Raises Undecodable and UnknownId."""
    at = 0 if value is None else body_at(value, _HEADER, resolve)
    if value is not None and at:
        try:
            return _read(value, at, windows)
        except (KeyError, OverflowError, ValueError):
            pass  # the codec reads it, or says what is wrong
    return _decoded(value, windows, resolve)


def _read(value: bytes, at: int, windows: tuple[Window, ...]) -> Live:
    """The record whose body begins there. Raises what `read` catches where `live` would not have written it."""
    found = _matched(_BEGIN, value, at)
    did, as_of, at = found[1][1:].decode(), decoding.number(found[2]), found.end()
    sums, spans, figures = list[int](), list[Span](), b""
    for window, place in zip(windows, _places(windows), strict=True):
        if not value.startswith(place, at):
            raise ValueError("other windows")
        at = _matched(_TIMES, value, at + len(place)).end()
        if not figures or not value.startswith(figures, at):
            found = _matched(_FIGURES, value, at)
            figures, total, tallies = found[0], _total(found[1]), _tallies(*found.groups()[1:])
        found = _matched(_LEGS, value, at + len(figures))
        peak, mean = found.groups()
        legs_ms = _legs_ms(_DOUBLE.unpack(mean)[0] if mean else None, window.seconds)
        sums.append(total)
        spans.append(Span(tallies, Busy(_NUMBER[peak] if peak else None, legs_ms)))
        at = found.end()
    settled = _matched(_END, value, at)[1]
    return Live(did, as_of, tuple(sums), tuple(spans), as_of - decoding.number(settled) if settled else 0)


def _matched(pattern: re.Pattern[bytes], value: bytes, at: int) -> re.Match[bytes]:
    found = pattern.match(value, at)
    if found is None:
        raise ValueError("not as `live` writes it")
    return found


@cache
def _places(windows: tuple[Window, ...]) -> list[bytes]:
    """What each window begins with; before the first, how many there are."""
    first, *others = [text(window.name) + long(window.seconds) for window in windows]
    return [long(len(windows)) + first, *others]


def _total(counts: bytes) -> int:
    return joined([_NUMBER[count] for count in VARINTS(counts)])


def _tallies(*arrays: bytes | None) -> list[tuple[int, int]]:
    """From the bins of each kind and the menu, each with its length before it."""
    *kinds, number, menu = arrays
    tallies = list[tuple[int, int]]()
    for tally, size, bins in zip(_TALLIES, kinds[::2], kinds[1::2], strict=True):
        if size and bins:
            written = _PAIRS(bins)
            if len(written) != _NUMBER[size]:
                raise ValueError("an array in blocks")
            tallies += [tally[one] for one in written]
    if number and menu:
        nodes = [Node(_PATH[path], _NUMBER[flows], _NUMBER[left]) for path, flows, left in _NODES.findall(menu)]
        if len(nodes) != _NUMBER[number]:
            raise ValueError("an array in blocks")
        tallies += paths.tallied(nodes)
    return tallies


def _legs_ms(mean: float | None, seconds: int) -> int:
    return 0 if mean is None else round(mean * 1000 * seconds)


def _decoded(value: bytes | None, windows: tuple[Window, ...], resolve: Resolve) -> Live:
    """The same, as the codec reads it."""
    name, record = decode(value, resolve)
    if name != "DidMetrics":
        raise Undecodable(f"a {name} is no DidMetrics")
    try:
        own = {
            (window["name"], window["seconds"]): (joined(_COUNTS(window)), _span(window))
            for window in record["windows"]
        }
    except (KeyError, OverflowError, ValueError) as error:
        raise Undecodable(str(error)) from None
    found = [own.get((window.name, window.seconds), (0, NO_SPAN)) for window in windows]
    as_of, settled = record["as_of"], record["legs_settled_until"]
    longest_ms = as_of - settled if settled is not None else 0
    return Live(
        record["did"], as_of, tuple([total for total, _ in found]), tuple([span for _, span in found]), longest_ms
    )


def _span(window: dict[str, Any]) -> Span:
    """What a window holds besides its counts. Raises ValueError."""
    held = {kind: [(one["ms"], one["calls"]) for one in window[f"{kind}_bins"]] for kind in histogram.KINDS}
    menu = [Node(node["path"], node["flows"], node["left"]) for node in window["menu"]]
    busy = Busy(window["peak_legs"], _legs_ms(window["mean_legs"], window["seconds"]))
    return Span(histogram.tallied(held) + paths.tallied(menu), busy)
