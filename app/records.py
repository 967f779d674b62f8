"""encode: events -> Kafka records: topic, key, framed Avro value, CloudEvents headers.

Pure. The encoders are compiled once, and what is the same on every record of a kind is made once. Source: contract,
section 3; CloudEvents 1.0.2, Kafka protocol binding, binary content mode.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from app.events import CallLeg, Dtmf, Email, Event, Flow, FlowKey, Recording, Rejected, Sms
from app.ids import event_id
from app.split import Split
from schemas import encoder
from schemas.topics import BY_RECORD, topic_name

SOURCE: Final = b"/phonon-events/receiver"
CONTENT_TYPE: Final = b"application/avro"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RECORDS: Final = (CallLeg, Dtmf, Sms, Email, FlowKey, Recording, Flow, Rejected)

Header = tuple[str, bytes]


class Record(NamedTuple):
    """What is published: `key` is None for what has no DID."""

    topic: str
    key: bytes | None
    value: bytes
    headers: list[Header]


class _Kind(NamedTuple):
    topic: str
    encode: Callable[[Any], bytes]
    type: Header


class Records:
    """Makes records for one topic prefix. `prefixes`: record name -> frame in place of the single-object header."""

    def __init__(self, topic_prefix: str, prefixes: dict[str, bytes] | None = None) -> None:
        frames = prefixes or {}
        self._kinds: dict[type, _Kind] = {
            record: _Kind(
                topic=topic_name(topic_prefix, record.__name__),
                encode=encoder(record.__name__, prefix=frames.get(record.__name__)),
                type=("ce_type", f"phonon.{BY_RECORD[record.__name__].name}.v1".encode()),
            )
            for record in _RECORDS
        }

    def __call__(self, split: Split, traceparent: bytes | None = None) -> list[Record]:
        """The records of a delivery, in the order of its events, what was rejected last."""
        constant: list[Header] = [
            ("ce_specversion", b"1.0"),
            ("ce_source", SOURCE),
            ("content-type", CONTENT_TYPE),
        ]
        if traceparent:
            constant.append(("traceparent", traceparent))
        records = [self._event(event, constant) for event in split.events]
        records += [self._rejected(part, constant) for part in split.rejected]
        return records

    def _event(self, event: Event, constant: list[Header]) -> Record:
        topic, encode, type_ = self._kinds[type(event)]
        headers = [("ce_id", event.event_id.encode()), type_, _time(event.occurred_at), *constant]
        return Record(topic, event.did.encode(), encode(event), headers)

    def _rejected(self, part: Rejected, constant: list[Header]) -> Record:
        topic, encode, type_ = self._kinds[Rejected]
        id_ = event_id("rejected", part.flow_id, part.section, part.index, part.payload)
        headers = [("ce_id", id_.encode()), type_, _time(part.received_at), *constant]
        return Record(topic, None, encode(part), headers)


def _time(ms: int) -> Header:
    """The ce_time of a moment, RFC 3339 in UTC with ms."""
    seconds, rest = divmod(ms, 1000)
    return "ce_time", b"%b.%03dZ" % (_second(seconds), rest)


@lru_cache(maxsize=4096)
def _second(seconds: int) -> bytes:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19].encode()
