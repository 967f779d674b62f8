"""The raw topic: a delivery's body as it came, so that it can be split again after a fix, with the same ids.

Pure. The value is the body after inflating, byte for byte, without any framing. The key is the flow_id: what came of a
flow stays in its order, and flows spread over the partitions. `ce_time` is received_at and `traceparent` the request's:
with them a body becomes the same records at any later time. `ce_id` is made of the ids of all records of the delivery,
so a retry has the same one, and a delivery that tells anything new has another.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from app.ids import event_id
from app.records import Record, headers_of
from app.segment import Row
from schemas.topics import RAW, raw_topic_name

CONTENT_TYPE: Final = b"application/json"
TYPE: Final = f"phonon.{RAW.name}.v1".encode()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Raw:
    """Makes the raw record of a delivery, for one topic prefix."""

    def __init__(self, topic_prefix: str) -> None:
        self._topic = raw_topic_name(topic_prefix)

    def __call__(self, row: Row, records: Sequence[Record], *, flow_id: str) -> Record:
        """The record of a body that became these records."""
        ids = [value.decode() for record in records for name, value in record.headers if name == "ce_id"]
        headers = headers_of(event_id("raw", flow_id, ids).encode(), TYPE, row.received_at, CONTENT_TYPE)
        headers += [header for header in records[0].headers if header[0] == "traceparent"]
        return Record(self._topic, flow_id.encode(), row.body, headers)


def received(body: bytes, headers: Iterable[tuple[str, bytes | None]]) -> Row:
    """A raw record's body as it was received, by what its headers say. Raises ValueError where they don't."""
    found = {name: (value or b"").decode("ascii", "replace") for name, value in headers}
    try:
        at = datetime.fromisoformat(found["ce_time"])
        return Row((at - _EPOCH) // timedelta(milliseconds=1), found.get("traceparent", ""), body)
    except (KeyError, ValueError, TypeError):
        raise ValueError("no ce_time that says when it was received") from None
