"""From a record's bytes to what counts of it. Pure. What is no flow record raises Undecodable, and nothing else."""

from schemas import Undecodable, decode
from streams.metrics import counts
from streams.table import Flow


def read(value: bytes | None) -> Flow:
    """The flow of a record's value. Raises Undecodable."""
    name, fields = decode(value)
    if name != "Flow":
        raise Undecodable(f"a {name}, not a Flow")
    return Flow(fields["did"], event_id(fields["event_id"]), fields["occurred_at"], counts(fields))


def event_id(text: str) -> bytes:
    """The 16 bytes of a UUID's text. Raises Undecodable."""
    try:
        data = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        data = b""
    if len(data) != 16:
        raise Undecodable("an event_id that is no UUID")
    return data
