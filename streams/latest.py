"""A DidMetrics record as what is added up of it. Pure."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from schemas import Resolve, Undecodable, decode
from schemas.settings import Window
from streams.gathered import Latest
from streams.metrics import COUNTS, joined

_COUNTS: Final = itemgetter(*COUNTS)


def read(value: bytes | None, windows: Sequence[Window], resolve: Resolve) -> Latest:
    """The sums of these windows; 0 for one that the record does not have. Raises Undecodable and UnknownId."""
    name, record = decode(value, resolve)
    if name != "DidMetrics":
        raise Undecodable(f"a {name} is no DidMetrics")
    try:
        own = {(window["name"], window["seconds"]): joined(_COUNTS(window)) for window in record["windows"]}
    except ValueError as error:
        raise Undecodable(str(error)) from None
    return Latest(record["as_of"], tuple([own.get((window.name, window.seconds), 0) for window in windows]))
