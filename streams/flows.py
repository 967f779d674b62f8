"""From a record's bytes to what counts of it. Pure. What is no flow record raises Undecodable, and nothing else.

Beyond the schema, two things are refused that no receiver of ours writes, and that would harm more than their own DID:
an occurred_at far beyond both its received_at and Kafka's timestamp, which would carry the whole partition's clock
away, and amounts no call has.
"""

from collections.abc import Mapping
from typing import Any, Final

from schemas import (
    HEADER_BYTES,
    SCHEMAS,
    WIRE_HEADER_BYTES,
    Resolve,
    Undecodable,
    decode,
    header,
    registry_id,
    without_registry,
)
from streams.decoding import compile_reader
from streams.metrics import counts
from streams.table import Flow

FUTURE_MS: Final = 5 * 60_000  # the receiver puts what lies further ahead at received_at
MOMENTS_MS: Final = range(-62_135_596_800_000, 253_402_300_800_000)  # the years 1 to 9999

_LEG: Final = dict.fromkeys(("role", "direction", "disposition", "answered", "ring_ms", "talk_ms"))
_WANTED: Final[Mapping[str, Any]] = dict.fromkeys((
    "event_id", "did", "occurred_at", "received_at", "main", "reached", "agent_reached", "time_to_agent_ms",
    "dtmf_count", "sms_count", "email_count", "recording_count",
)) | {"legs": _LEG}  # fmt: skip
_HEADER: Final = header(SCHEMAS["Flow"])
_read: Final = compile_reader(SCHEMAS["Flow"], _WANTED)


def read(value: bytes | None, resolve: Resolve = without_registry, *, timestamp: int = 0) -> Flow:
    """The flow of a record's value. `timestamp`: Kafka's, ms. Raises Undecodable, and UnknownId as `resolve` does."""
    fields = read_fields(value, resolve)
    at = fields["occurred_at"]
    if at not in MOMENTS_MS or at > max(fields["received_at"], timestamp) + FUTURE_MS:
        raise Undecodable("an occurred_at that no receiver writes")
    try:
        return Flow(fields["did"], event_id(fields["event_id"]), at, counts(fields))
    except ValueError as error:
        raise Undecodable(str(error)) from None


def read_fields(value: bytes | None, resolve: Resolve = without_registry) -> Mapping[str, Any]:
    """The fields that count, of any version of the record. Raises Undecodable and what `resolve` raises."""
    begin = 0 if value is None else _begin(value, resolve)
    if value is not None and begin:
        try:
            fields, end = _read(value, begin)
        except (IndexError, KeyError, ValueError):
            pass  # let the codec say what is wrong
        else:
            if end == len(value):
                return fields
    name, fields = decode(value, resolve)
    if name != "Flow":
        raise Undecodable(f"a {name}, not a Flow")
    return fields


def _begin(value: bytes, resolve: Resolve) -> int:
    """Where the body begins of what was written with the present schema; 0 for all else."""
    if value[:HEADER_BYTES] == _HEADER:
        return HEADER_BYTES
    id_ = registry_id(value)
    return WIRE_HEADER_BYTES if id_ is not None and resolve(id_).header == _HEADER else 0


def event_id(text: str) -> bytes:
    """The 16 bytes of a UUID's text. Raises ValueError."""
    data = bytes.fromhex(text.replace("-", ""))
    if len(data) != 16:
        raise ValueError("an event_id that is no UUID")
    return data
