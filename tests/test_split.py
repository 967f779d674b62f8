"""Properties of splitting: ids depend on what happened alone, no two rows share one, nothing that was sent is lost."""

import json
import time
import timeit
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.delivery import MOST_ROWS, NotADelivery, TooManyRows, read_document
from app.events import as_dict
from app.ids import NAMESPACE, event_id
from app.json_text import NotJson
from app.records import Records
from app.rows import Address, Key, Leg, Press, SentEmail, SentRecording, SentSms
from app.split import Split, split
from schemas import decode
from tests.json_values import ANYTHING, DOCUMENTS
from tests.test_deliveries import RECEIVED_AT, RULES

RECORDS = Records("phonon")


def split_body(body: bytes, received_at: int = RECEIVED_AT) -> Split:
    return split(read_document(body), received_at=received_at, rules=RULES)


def split_document(document: Any, received_at: int = RECEIVED_AT) -> Split:
    try:
        return split_body(json.dumps(document).encode(), received_at)
    except NotADelivery:
        assume(False)
        raise


def ids(result: Split) -> list[str]:
    return [event.event_id for event in result.events] + [part.event_id for part in result.rejected]


def shuffled(value: Any, draw: Any) -> Any:
    """The same JSON with the keys of all objects in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key], draw) for key in draw(st.permutations(list(value)))}
    return [shuffled(item, draw) for item in value] if isinstance(value, list) else value


@given(st.data(), DOCUMENTS)
def test_ids_stay_however_the_same_delivery_is_written(data: Any, document: Any) -> None:
    sent = split_document(document)
    again = shuffled(document, data.draw)
    spaced = json.dumps({"body": again}, indent=3, ensure_ascii=False).encode()
    resent = split_body(spaced, RECEIVED_AT + 3_600_000)
    assert ids(resent) == ids(sent)
    assert resent.flow_id == sent.flow_id


@given(DOCUMENTS)
def test_two_events_of_a_delivery_never_share_an_id(document: Any) -> None:
    given_ids = ids(split_document(document))
    assert len(set(given_ids)) == len(given_ids)


@given(DOCUMENTS)
def test_every_record_survives_encode_and_decode(document: Any) -> None:
    result = split_document(document)
    made = [*result.events, *result.rejected]
    for event, record in zip(made, RECORDS(result), strict=True):
        name, fields = decode(record.value)
        expected = as_dict(event)
        id_ = expected["event_id"] if name != "Rejected" else expected.pop("event_id")
        assert dict(record.headers)["ce_id"] == id_.encode()
        for leg in expected.get("legs", []):
            for field in leg.keys() - fields["legs"][0].keys():
                del leg[field]
        assert (name, fields) == (type(event).__name__, expected)
        assert record.key == (None if name == "Rejected" else fields["did"].encode())


def _texts(value: Any) -> set[str]:
    """Every text that stands somewhere in a value, and every number as its text."""
    if isinstance(value, dict):
        return {text for item in value.values() for text in _texts(item)}
    if isinstance(value, list):
        return {text for item in value for text in _texts(item)}
    if isinstance(value, bool) or value is None:
        return set()
    return {str(value)}


@given(DOCUMENTS)
def test_no_text_that_was_sent_is_lost(document: Any) -> None:
    """Each text stands in an event as it is, or inside the JSON text of extra, of a key or of a rejected part."""
    result = split_document(document)
    kept = [as_dict(event) for event in [*result.events, *result.rejected]]
    everywhere = " ".join(sorted(text for item in kept for text in _texts(item)))
    read = {"VISITOR", "true", "false"}
    for text in filter(str.strip, _strings(document)):
        as_json = msgspec.json.encode(text).decode()[1:-1]
        meant = {text, as_json, text.strip(), *_as_number(text)}
        assert any(form in everywhere for form in meant) or text.strip().lower() in read or _is_time(text), text


ROWS: list[tuple[type[msgspec.Struct], Callable[[dict[str, Any]], dict[str, Any]]]] = [
    (Leg, lambda row: {"callDetails": [row]}),
    (Press, lambda row: {"callDetails": [{"dtmfPressesd": [row]}]}),
    (SentSms, lambda row: {"smsDetails": [row]}),
    (SentEmail, lambda row: {"emailDetails": [row]}),
    (Address, lambda row: {"emailDetails": [{"addresses": [row]}]}),
    (Key, lambda row: {"keys": [row]}),
    (SentRecording, lambda row: {"recordingUrls": [row]}),
]


@pytest.mark.parametrize(("kind", "document"), ROWS, ids=lambda value: getattr(value, "__name__", ""))
def test_an_odd_value_of_any_field_is_kept(
    kind: type[msgspec.Struct], document: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Not left to chance: a field that is read too late, once the event has its extra, loses what it can't read."""
    for name in kind.__struct_encode_fields__:
        for odd in ("odd one", ["odd one"], {"odd one": 1}):
            result = split_document(document({name: odd}))
            kept = [as_dict(event) for event in [*result.events, *result.rejected]]
            assert any("odd one" in text for item in kept for text in _texts(item)), (name, odd)


def _strings(value: Any) -> set[str]:
    """Every text that stands somewhere in a document."""
    if isinstance(value, dict):
        return {text for item in value.values() for text in _strings(item)}
    if isinstance(value, list):
        return {text for item in value for text in _strings(item)}
    return {value} if isinstance(value, str) else set()


def _as_number(text: str) -> set[str]:
    """What a text looks like once it was read as a number."""
    try:
        return {str(float(text)), str(int(float(text)))}
    except (ValueError, OverflowError):
        return set()


def _is_time(text: str) -> bool:
    return text[:4].isdigit() and text[4:5] == "-"


@given(DOCUMENTS)
def test_the_flows_hold_each_leg_once_and_the_main_one_comes_first(document: Any) -> None:
    result = split_document(document)
    flows = [event for event in map(as_dict, result.events) if "legs" in event]
    legs = [event for event in map(as_dict, result.events) if "dtmf_count" in event and "legs" not in event]
    assert [flow["main"] for flow in flows] == [True] + [False] * (len(flows) - 1)
    assert sorted(leg["event_id"] for flow in flows for leg in flow["legs"]) == sorted(leg["event_id"] for leg in legs)
    assert len({flow["did"] for flow in flows}) == len(flows)
    assert flows[0]["rejected_count"] == len(result.rejected)
    assert sum(result.counts().values()) == len(result.events)


def test_talk_time_beyond_what_a_record_holds_is_the_most_it_holds() -> None:
    leg = {"calleeType": "VISITOR", "connectTime": "2022-11-29T23:49:13Z", "duration": 2**63 - 1}
    flow = RECORDS(split_document({"phonon-uuid": "a", "callDetails": [leg, leg]}))[-1]
    assert decode(flow.value)[1]["talk_ms"] == 2**63 - 1  # the sum of both read as -2


@given(st.binary(max_size=60) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_delivery_or_a_named_refusal(body: bytes) -> None:
    with suppress(NotJson, NotADelivery):
        assert RECORDS(split_body(body))


@pytest.mark.parametrize(
    "body", ["", "null", "[]", "1", "{", '{"a":NaN}', "\ufffe", '{"phonon-uuid":"x"}}', "[" * 5000, '"\\ud800"']
)
def test_what_is_no_json_object_is_refused(body: str) -> None:
    with pytest.raises(NotJson):
        read_document(body.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "body", ["{}", '{"body":{}}', '{"body":null}', '{"keys":null}', '{"a":1}', '{"body":[{"keys":[]}]}']
)
def test_an_object_without_a_known_field_is_no_delivery(body: str) -> None:
    with pytest.raises(NotADelivery):
        read_document(body.encode())


def test_what_stood_around_the_document_is_kept_whatever_its_name() -> None:
    around = {"keys": [1], "flowStatus": "outer", "method": "POST"}
    flow = split_document({"body": {"phonon-uuid": "a", "flowStatus": None, "method": "GET"}, **around}).events[-1]
    assert flow.extra == {"keys": "[1]", "flowStatus": '"outer"', "method": '"GET"', "../method": '"POST"'}


def test_names_that_all_lead_up_to_others_take_no_longer_than_names_that_do_not() -> None:
    """Where each was tried against all names before it, 1 MiB of them stopped a receiver for 0.2 s."""

    def seconds(around: dict[str, int]) -> float:
        document = {"body": {"phonon-uuid": "a", **names}, **around}
        (flow,) = split_document(document).events
        assert sorted(flow.extra.values()) == sorted(map(str, [*names.values(), *around.values()]))
        return min(timeit.repeat(lambda: split_document(document), number=1, repeat=3, timer=time.process_time))

    names = {f"{'../' * n}a": n for n in range(500)}
    assert seconds(names) < 5 * seconds({f"{name}b": n for name, n in names.items()})


def test_more_rows_than_a_flow_has_are_refused() -> None:
    body = json.dumps({"keys": [{}] * (MOST_ROWS + 1)}).encode()
    with pytest.raises(TooManyRows):
        split_body(body)


@given(st.lists(st.text() | st.integers() | st.none(), min_size=1))
def test_an_event_id_is_what_the_standard_library_calls_uuid5(parts: list[Any]) -> None:
    assert event_id(*parts) == str(uuid.uuid5(NAMESPACE, msgspec.json.encode(parts).decode()))
