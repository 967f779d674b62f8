"""A record that could not be read, as a Rejected record. Pure."""

from base64 import b64encode
from typing import Any, Final

from schemas import encode
from streams.headers import Headers, cloud_event

PAYLOAD_BYTES: Final = 512 * 1024  # the rest stays where it was found: topic, partition and offset say where


def rejected(record: Any, *, reason: str, received_at: int, header: bytes | None = None) -> bytes:
    """The framed Rejected record of a consumed record; its payload is base64 text, its header may be a registry's."""
    data: bytes = record.value or b""
    where = f"{record.topic} partition {record.partition} offset {record.offset}"
    cut = f"; payload cut from {len(data)} bytes" if len(data) > PAYLOAD_BYTES else ""
    return encode(
        "Rejected",
        {
            "flow_id": "",
            "section": record.topic,
            "index": None,
            "reason": f"{reason} ({where}{cut})",
            "payload": b64encode(data[:PAYLOAD_BYTES]).decode(),
            "received_at": received_at,
        },
        prefix=header,
    )


def headers(record: Any, received_at: int) -> Headers:
    """The Rejected record's headers; it is identified by the place of what it holds."""
    return cloud_event("Rejected", f"{record.topic}/{record.partition}/{record.offset}", received_at)
