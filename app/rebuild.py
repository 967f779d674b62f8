"""What can be made of a Rejected record by the present code: the events of a part of a delivery, or a topic's record.

Pure. A part is put back into a document at its place and split by the rules of all deliveries, so that its events get
the ids that they would have had. What else the delivery said of it is on its Flow record, found by flow_id and
received_at: the DID and time of what has none of its own. A leg that says just these stands in for the others.

A Flow record is never made from a part: it says what the whole call was. Presses are not either: which leg they belong
to is not known. For both, and for all at once, there is the raw topic.
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from app import json_text
from app.delivery import FLOW_ID, SECTIONS, Document, TooManyRows
from app.events import CallLeg, Flow
from app.ids import event_id
from app.records import Record, headers_of
from app.split import Rules, Split, split
from schemas import Resolve, Undecodable, UnknownId, decode
from schemas.topics import OF_WORKERS, Topic

STILL: Final = "still can't be read"
DROPPED: Final = "nothing of it was kept (PHONON_CONTENT=drop)"
TOKENS: Final = "its numbers and addresses are tokens (PHONON_NUMBERS=pseudonymise)"
PRESSES: Final = "a press without its leg: only replay --from-raw can"
CALLERS: Final = "its name may hold a caller's number (PHONON_NUMBERS=pseudonymise): only replay --from-raw can"
NO_FLOW: Final = "its flow is not on the topic any more"
NOT_OURS: Final = "from a topic that is none of the events'"

LEGS: Final = "callDetails"
RECORDINGS: Final = "recordingUrls"
_STAND_IN: Final = event_id("a leg that stands in for the others")
_TOKEN: Final = re.compile(r"tok_[0-9a-f]{32}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Fields = Mapping[str, Any]


class Left(ValueError):  # noqa: N818 - it says what becomes of the part
    """Nothing can be made of it; the text says why."""


def part_of(rejected: Fields, flow: Fields | None, rules: Rules) -> Split:
    """The events of a part of a delivery whose main Flow record is `flow`. Raises Left."""
    document = _document(rejected, flow)
    try:
        found = split(Document(document, {}), received_at=rejected["received_at"], rules=rules)
    except TooManyRows:
        raise Left(STILL) from None
    events = [e for e in found.events if type(e) is not Flow and not (type(e) is CallLeg and e.cdr_id == _STAND_IN)]
    if not events:
        raise Left(STILL)
    if flow is None:
        raise Left(NO_FLOW)
    missing = f"{FLOW_ID}:missing"
    for event in events:
        event.anomalies = ((missing,) if missing in flow["anomalies"] else ()) + event.anomalies
    return Split(found.flow_id, events)


def _document(rejected: Fields, flow: Fields | None) -> dict[str, Any]:
    """A document with the part at its place, and with what the flow says of the rest."""
    section, index, payload = rejected["section"], rejected["index"], rejected["payload"]
    if not payload:
        raise Left(DROPPED)
    if section not in SECTIONS:
        raise Left(PRESSES if section.startswith(LEGS) else STILL)
    if _TOKEN.search(payload):
        raise Left(TOKENS)
    try:
        value = json_text.read(payload.encode())
    except json_text.NotJson:
        raise Left(STILL) from None
    document = {FLOW_ID: rejected["flow_id"], section: value if index is None else [*[None] * index, value]}
    if section != LEGS and flow is not None:
        document[LEGS] = [_stand_in(flow)]
    return document


def _stand_in(flow: Fields) -> dict[str, Any]:
    """A leg that gives the others its DID and its end."""
    end = _EPOCH + timedelta(milliseconds=flow["occurred_at"])
    end_time = end.isoformat(timespec="milliseconds")
    return {"cdrId": _STAND_IN, "calleeType": "VISITOR", "endTime": end_time, "didNumber": flow["did"]}


def record_of(rejected: Fields, topics: Mapping[str, Topic], resolve: Resolve) -> Record:
    """The record that a topic held, as it was, where it can be read now. Raises Left."""
    topic = topics[rejected["section"]]
    if topic.key is None or topic.record in OF_WORKERS or not topic.record:
        raise Left(NOT_OURS)
    try:
        value = b64decode(rejected["payload"], validate=True)
        name, fields = decode(value, resolve)
    except (Undecodable, UnknownId, ValueError):
        raise Left(STILL) from None
    if name != topic.record:
        raise Left(STILL)
    type_ = f"phonon.{topic.name}.v1".encode()
    headers = headers_of(fields["event_id"].encode(), type_, fields["occurred_at"])
    return Record(rejected["section"], fields["did"].encode(), value, headers)
