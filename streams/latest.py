"""A DidMetrics record as what is added up of it. Pure."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from schemas import Resolve, Undecodable, decode
from schemas.settings import Window
from streams import histogram
from streams.gathered import Latest
from streams.metrics import COUNTS, HISTOGRAMS, joined

_COUNTS: Final = itemgetter(*COUNTS)


def read(value: bytes | None, windows: Sequence[Window], resolve: Resolve) -> Latest:
    """The sums of these windows; 0 for one that the record does not have. Raises Undecodable and UnknownId."""
    name, record = decode(value, resolve)
    if name != "DidMetrics":
        raise Undecodable(f"a {name} is no DidMetrics")
    try:
        own = {(window["name"], window["seconds"]): _sum(window) for window in record["windows"]}
    except ValueError as error:
        raise Undecodable(str(error)) from None
    return Latest(record["as_of"], tuple([own.get((window.name, window.seconds), 0) for window in windows]))


def _sum(window: dict[str, Any]) -> int:
    """A window's counts and histograms as the one integer that they are in the workers' state."""
    held = {kind: [(one["ms"], one["calls"]) for one in window[f"{kind}_bins"]] for kind in histogram.KINDS}
    return joined(_COUNTS(window)) + (histogram.joined(held) << HISTOGRAMS)
