"""A DidMetrics record as what is added up of it. Pure."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from schemas import Resolve, Undecodable, decode
from schemas.settings import Window
from streams import histogram, paths
from streams.lines import Busy
from streams.metrics import COUNTS, joined
from streams.paths import Node
from streams.table import NO_SPAN, Live, Span

_COUNTS: Final = itemgetter(*COUNTS)


def read(value: bytes | None, windows: Sequence[Window], resolve: Resolve) -> Live:
    """What these windows hold; nothing, for one that the record does not have. Raises Undecodable and UnknownId."""
    name, record = decode(value, resolve)
    if name != "DidMetrics":
        raise Undecodable(f"a {name} is no DidMetrics")
    try:
        own = {
            (window["name"], window["seconds"]): (joined(_COUNTS(window)), _span(window))
            for window in record["windows"]
        }
    except ValueError as error:
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
    mean = window["mean_legs"]
    busy = Busy(window["peak_legs"], round(mean * 1000 * window["seconds"]) if mean is not None else 0)
    return Span(histogram.tallied(held) + paths.tallied(menu), busy)
