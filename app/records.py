"""encode: events -> Kafka records: topic, key, framed Avro value, CloudEvents headers.

Pure. The encoders are compiled once, and what is the same on every record of a kind is made once. Source: contract,
section 3; CloudEvents 1.0.2, Kafka protocol binding, binary content mode.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import Struct

from app.events import CallLeg, Dtmf, Email, Flow, FlowKey, Recording, Rejected, Sms
from app.split import Split
from schemas import HEADERS, encoder
from schemas.topics import BY_RECORD, topic_name

SOURCE: Final = b"/phonon-events/receiver"
CONTENT_TYPE: Final = b"application/avro"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REST: Final = [b".%03dZ" % ms for ms in range(1000)]
_RECORDS: Final = (CallLeg, Dtmf, Sms, Email, FlowKey, Recording, Flow, Rejected)
NAMES: Final = tuple(record.__name__ for record in _RECORDS)

#: Fields that key and headers need as bytes too: each is encoded once.
_SHARED: Final = ("event_id", "flow_id", "did")

Header = tuple[str, bytes]

#: The headers that all records have alike, and those of events.
_SAME: Final[tuple[Header, ...]] = (("ce_specversion", b"1.0"), ("ce_source", SOURCE))
_SAME_OF_EVENTS: Final[tuple[Header, ...]] = (*_SAME, ("content-type", CONTENT_TYPE))


class Record(Struct, frozen=True, gc=False):
    """What is published: `key` is None for what has no DID."""

    topic: str
    key: bytes | None
    value: bytes
    headers: list[Header]


class _Kind(NamedTuple):
    topic: str
    encode: Callable[..., bytes]
    type: Header


class Records:
    """Makes records for one topic prefix. `headers`: record name -> the bytes before its body; {}: `frame` tells.

    Until then there are no records: a consumer that knows only the registry could not read them.
    """

    def __init__(self, topic_prefix: str, headers: Mapping[str, bytes] = HEADERS) -> None:
        self._topic_prefix = topic_prefix
        self._kinds: dict[type, _Kind] = {}
        if headers:
            self.frame(headers)

    @property
    def framed(self) -> bool:
        """Whether records can be made."""
        return bool(self._kinds)

    def frame(self, headers: Mapping[str, bytes]) -> None:
        """Make records from now on, with these headers."""
        self._kinds = {
            record: _Kind(
                topic=topic_name(self._topic_prefix, record.__name__),
                encode=encoder(
                    record.__name__, prefix=headers[record.__name__], given=() if record is Rejected else _SHARED
                ),
                type=("ce_type", f"phonon.{BY_RECORD[record.__name__].name}.v1".encode()),
            )
            for record in _RECORDS
        }

    def __call__(self, split: Split, traceparent: bytes | None = None) -> list[Record]:
        """The records of a delivery, in the order of its events, what was rejected last; none before `frame`."""
        if not self._kinds:
            return []
        constant = (*_SAME_OF_EVENTS, ("traceparent", traceparent)) if traceparent else _SAME_OF_EVENTS
        kinds, records = self._kinds, []
        flow_id = split.flow_id.encode()
        for event in split.events:
            topic, encode, type_ = kinds[type(event)]
            id_, did = event.event_id.encode(), event.did.encode()
            headers = [("ce_id", id_), type_, time_header(event.occurred_at), *constant]
            records.append(Record(topic, did, encode(event, id_, flow_id, did), headers))
        records += [self._rejected(part, constant) for part in split.rejected]
        return records

    def _rejected(self, part: Rejected, constant: tuple[Header, ...]) -> Record:
        topic, encode, type_ = self._kinds[Rejected]
        headers = [("ce_id", part.event_id.encode()), type_, time_header(part.received_at), *constant]
        return Record(topic, None, encode(part), headers)


def headers_of(id_: bytes, type_: bytes, at_ms: int, content_type: bytes = CONTENT_TYPE) -> list[Header]:
    """The headers of a record that is made by itself: its id, its type, when it occurred, what its value is."""
    return [("ce_id", id_), ("ce_type", type_), time_header(at_ms), *_SAME, ("content-type", content_type)]


@lru_cache(maxsize=128)
def time_header(ms: int) -> Header:
    """The ce_time of a moment, RFC 3339 in UTC with ms. Most events of a delivery have that of its flow."""
    return "ce_time", _second(ms // 1000) + _REST[ms % 1000]


@lru_cache(maxsize=1024)
def _second(seconds: int) -> bytes:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19].encode()
