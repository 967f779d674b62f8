"""What the page's list shows of a DidMetrics record: six counts a window, from which everything else follows.

Pure. The counts travel, not the ratios: a ratio without its count misleads, and sums over DIDs are then exact too.
The whole record stays beside them as bytes, and is decoded for the one DID that somebody looks at.
"""

from functools import lru_cache
from typing import Any, Final, NamedTuple

import phonenumbers

from schemas import SCHEMAS, SINGLE_OBJECT, Resolve, Undecodable, decode, encode, without_registry

#: The counts of a window that the list needs, in the order in which they travel.
COUNTS: Final = ("attempts", "answered", "talk_ms", "flows_to_agent", "flows_abandoned", "served_in_time")
KNOWN_NUMBERS: Final = 65_536

Counts = tuple[int, ...]
Windows = tuple[tuple[str, int], ...]


class Latest(NamedTuple):
    """The last record of a DID or, with `group`, of a group.

    `windows` are names and lengths in seconds, `counts` one tuple for each of them.
    """

    did: str
    shown: str
    as_of: int
    written_at: int
    windows: Windows
    counts: tuple[Counts, ...]
    value: bytes
    group: bool = False


def latest(value: bytes, written_at: int, resolve: Resolve = without_registry, *, group: bool = False) -> Latest:
    """A record of a metrics topic and the time Kafka has for it, ms. Raises Undecodable and what `resolve` does."""
    record, fields = decode(value, resolve)
    if record != "DidMetrics":
        raise Undecodable(f"a {record} among the metrics")
    windows = fields["windows"]
    return Latest(
        did=fields["did"],
        shown=shown(fields["did"]),
        as_of=fields["as_of"],
        written_at=written_at,
        windows=tuple((window["name"], window["seconds"]) for window in windows),
        counts=tuple(tuple(window[name] for name in COUNTS) for window in windows),
        value=value if value.startswith(SINGLE_OBJECT) else encode(record, fields),
        group=group,
    )


@lru_cache(KNOWN_NUMBERS)
def shown(did: str) -> str:
    """A DID as people read it, "+91 22 4369 2987"; what is no number stays as it is."""
    try:
        number = phonenumbers.parse(did)
    except phonenumbers.NumberParseException:
        return did
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def meanings() -> dict[str, str]:
    """Figure -> what it means, from the schema's own words."""
    window: dict[str, Any] = SCHEMAS["DidMetrics"]["fields"][2]["type"]["items"]
    return {field["name"]: field["doc"].partition(" Source:")[0] for field in window["fields"]}
