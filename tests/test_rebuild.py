"""A part that was rejected becomes the event that its delivery would have given, or says why it can't."""

from base64 import b64encode
from typing import Any

import msgspec
import pytest

from app import rebuild
from app.events import Event, Flow, as_dict
from app.pipeline import make_pipeline
from app.rebuild import Left, part_of, record_of
from app.segment import Row
from app.split import Split
from schemas import decode, without_registry
from schemas.settings import read_settings
from schemas.topics import topics_by_name

PIPELINE = make_pipeline(read_settings({}))
TOPICS = topics_by_name("phonon", raw=True)
AT = 1_763_838_226_007
LEG = {
    "cdrId": "leg-1",
    "calleeType": "VISITOR",
    "didNumber": "02243692987",
    "startTime": "2025-11-22T18:59:00Z",
    "endTime": "2025-11-22T19:02:11.5Z",
}
WHOLE = {
    "phonon-uuid": "flow-1",
    "callDetails": [LEG, {"calleeType": "AGENT", "didNumber": "02243692987"}],
    "smsDetails": [{"id": "s1", "text": "hi"}, {"text": "no id"}, {"id": "s3", "sendTime": "2025-11-22T19:00:00Z"}],
    "emailDetails": [{"id": "e1"}],
    "keys": [{"name": "k", "value": 1}],
    "recordingUrls": [{"recordedFileName": "r.wav"}],
}


def made(document: dict[str, Any]) -> Split:
    return PIPELINE(Row(AT, "", msgspec.json.encode(document))).split


def flow(document: dict[str, Any]) -> dict[str, Any]:
    return as_dict(next(event for event in made(document).events if isinstance(event, Flow)))


def rejected(section: str, index: int | None, value: Any, **other: Any) -> dict[str, Any]:
    payload = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return {"flow_id": "flow-1", "section": section, "index": index, "payload": payload, "received_at": AT} | other


def rows(section: str) -> list[tuple[str, int]]:
    return [(section, index) for index in range(len(WHOLE[section]))]


def comparable(events: list[Event]) -> list[dict[str, Any]]:
    return [as_dict(event) for event in events if not isinstance(event, Flow)]


@pytest.mark.parametrize(("section", "index"), [row for name in WHOLE if name != "phonon-uuid" for row in rows(name)])
@pytest.mark.parametrize("uuid", [{}, {"phonon-uuid": None}], ids=["uuid", "no uuid"])
def test_a_row_becomes_what_it_would_have_been(section: str, index: int, uuid: dict[str, Any]) -> None:
    """As if an older version had refused it: the row is nothing there, and all the rest is on the flow's record."""
    document = WHOLE | uuid
    without = document | {section: [None if i == index else row for i, row in enumerate(document[section])]}
    if section == "callDetails" and index == 0:
        without[section][1] = LEG  # somebody has to say which DID it is
    sent = rejected(section, index, document[section][index], flow_id=flow(without)["flow_id"])
    of_others = {event["event_id"] for event in comparable(made(without).events)}
    found = comparable(part_of(sent, flow(without), PIPELINE.rules).events)
    if uuid or (section == "callDetails" and index == 0):  # ids hold the derived flow_id; or the other leg is this one
        assert len(found) == 1
        assert (found[0]["flow_id"], found[0]["did"]) == (sent["flow_id"], "+912243692987")
        assert ("phonon-uuid:missing" in found[0]["anomalies"]) == bool(uuid)
        return
    assert found == [event for event in comparable(made(document).events) if event["event_id"] not in of_others]


def test_a_whole_section_becomes_its_rows_and_never_a_flow() -> None:
    without = WHOLE | {"smsDetails": {"not": "a list"}}
    found = part_of(rejected("smsDetails", None, WHOLE["smsDetails"]), flow(without), PIPELINE.rules)
    expected = [event for event in comparable(made(WHOLE).events) if "sms_id" in event]
    assert comparable(found.events) == expected
    assert not found.rejected
    assert not [event for event in found.events if isinstance(event, Flow)]


@pytest.mark.parametrize(
    ("part", "known", "reason"),
    [
        (rejected("keys", 0, '"text"'), True, rebuild.STILL),
        (rejected("keys", None, "{}"), True, rebuild.STILL),
        (rejected("keys", 0, "not json"), True, rebuild.STILL),
        (rejected("formFields", 0, "{}"), True, rebuild.STILL),
        (rejected("keys", None, [{}] * 50_001), True, rebuild.STILL),
        (rejected("keys", 0, ""), True, rebuild.DROPPED),
        (rejected("smsDetails", 0, {"to": "tok_" + 32 * "0"}), True, rebuild.TOKENS),
        (rejected("callDetails[0].dtmfPressesd", 1, {"key": "1"}), True, rebuild.PRESSES),
        (rejected("keys", 0, {"name": "k"}), False, rebuild.NO_FLOW),
    ],
)
def test_what_nothing_can_be_made_of_says_why(part: dict[str, Any], known: bool, reason: str) -> None:
    with pytest.raises(Left) as left:
        part_of(part, flow(WHOLE) if known else None, PIPELINE.rules)
    assert str(left.value) == reason


def test_a_topics_record_goes_back_as_it_was() -> None:
    for record in PIPELINE(Row(AT, "", msgspec.json.encode(WHOLE))).records:
        part = rejected(record.topic, None, b64encode(record.value).decode(), flow_id="")
        again = record_of(part, TOPICS, without_registry)
        assert (again.topic, again.key, again.value) == (record.topic, record.key, record.value)
        assert sorted(again.headers) == sorted(record.headers)
        assert decode(again.value)[1]["flow_id"] == "flow-1"


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("phonon.flow.v1", b"\x00", rebuild.STILL),
        (
            "phonon.flow.v1",
            PIPELINE(Row(AT, "", b'{"phonon-uuid": "f", "keys": [{}]}')).records[0],
            0,
        ),
        ("phonon.rejected.v1", b"", rebuild.NOT_OURS),
        ("phonon.did-metrics.v1", b"", rebuild.NOT_OURS),
        ("phonon.did-alerts.v1", b"", rebuild.NOT_OURS),
        ("phonon.delivery.v1", b"", rebuild.NOT_OURS),
    ],
)
def test_a_topics_record_that_does_not_belong_there_is_left(topic: str, payload: Any, reason: str) -> None:
    value = payload if isinstance(payload, bytes) else payload.value
    with pytest.raises(Left, match=reason or rebuild.STILL):
        record_of(rejected(topic, None, b64encode(value).decode()), TOPICS, without_registry)
