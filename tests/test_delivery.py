"""Reading: a row read in one step is the row read field by field, and what one way refuses the other one notes."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import json_text
from app.delivery import MOST_ROWS, Document, NotADelivery, Notes, Rows, read_any, read_document, read_fields
from app.rows import Address, Key, Leg, Press, SentEmail, SentRecording, SentSms
from app.split import split
from tests.json_values import ADDRESS, DOCUMENTS, EMAIL, KEY, LEG, NAMES, PRESS, RECORDING, SMS
from tests.test_deliveries import RULES

KINDS: list[tuple[type[msgspec.Struct], st.SearchStrategy[Any]]] = [
    (Leg, LEG),
    (Press, PRESS),
    (SentSms, SMS),
    (SentEmail, EMAIL),
    (Address, ADDRESS),
    (Key, KEY),
    (SentRecording, RECORDING),
]
NESTED = ("presses", "addresses")


def fields(row: msgspec.Struct) -> dict[str, Any]:
    """A row's fields, without the rows in it."""
    return {name: value for name, value in msgspec.structs.asdict(row).items() if name not in NESTED}


@pytest.mark.parametrize(("kind", "rows"), KINDS)
def test_every_field_that_is_known_is_tried(kind: type[msgspec.Struct], rows: st.SearchStrategy[Any]) -> None:
    assert set(kind.__struct_encode_fields__) == NAMES[rows]


@pytest.mark.parametrize(("kind", "rows"), KINDS)
def test_both_ways_read_the_same(kind: type[msgspec.Struct], rows: st.SearchStrategy[Any]) -> None:
    in_one_step = []

    @settings(max_examples=400)
    @given(rows)
    def check(sent: Any) -> None:
        notes = Notes(0)
        row = read_fields(sent, kind, notes)
        try:
            strict = msgspec.convert(sent, kind)
        except msgspec.ValidationError:
            return
        in_one_step.append(strict)
        assert fields(row) == fields(strict)
        assert notes == Notes(0)

    check()
    assert len(in_one_step) > 10


SECTIONS: dict[str, type[msgspec.Struct]] = {
    "callDetails": Leg,
    "smsDetails": SentSms,
    "emailDetails": SentEmail,
    "keys": Key,
    "recordingUrls": SentRecording,
}


def tidied(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what is odd about it."""
    return {"phonon-uuid": "a"} | {name: rows for name in SECTIONS if (rows := _rows(name, document.get(name)))}


def _rows(name: str, sent: Any) -> list[Any]:
    return [row for row in sent if _fits(row, SECTIONS[name])] if isinstance(sent, list) else []


def _fits(row: Any, kind: type[msgspec.Struct]) -> bool:
    try:
        msgspec.convert(row, kind)
    except msgspec.ValidationError:
        return False
    return True


def test_a_usual_document_becomes_what_it_becomes_when_it_is_read_as_any_other() -> None:
    read_at_once = []

    @settings(max_examples=400)
    @given(DOCUMENTS.map(tidied) | DOCUMENTS)
    def check(document: dict[str, Any]) -> None:
        body = json.dumps({"body": document}).encode()
        try:
            usual = read_document(body)
        except NotADelivery:
            return
        other = read_any(json_text.read(body))
        assert split(usual, received_at=1, rules=RULES) == split(other, received_at=1, rules=RULES)
        if usual.usual:
            read_at_once.append(usual)

    check()
    assert len(read_at_once) > 50


@given(DOCUMENTS)
def test_one_odd_row_changes_nothing_for_the_others(document: Any) -> None:
    """A document that is read row by row, because of a key that is none, gives the same rows."""
    known = {name: value for name, value in document.items() if isinstance(value, list)}
    whole = Rows(Document(known, {}))
    piecewise = Rows(Document({**known, "keys": [*known.get("keys", []), "none"]}, {}))
    assert (piecewise.legs, piecewise.sms, piecewise.emails) == (whole.legs, whole.sms, whole.emails)
    assert piecewise.keys == whole.keys
    assert piecewise.recordings == whole.recordings
    assert [part for part in piecewise.unread if part.value != "none"] == [
        part for part in whole.unread if part.value != "none"
    ]


@pytest.mark.parametrize(
    "body",
    [
        '{"body":{"phonon-uuid":"a","keys":[{"name":"n","value":1}],"keys":[{"name":"m","value":2}]}}',
        '{"body":{"phonon-uuid":1,"phonon-uuid":"a"}}',
        '{"body":{"phonon-uuid":"a"},"body":{"phonon-uuid":"b","keys":null}}',
        '{"body":{"phonon-uuid":"a","keys":[{"name":"\\ud83d\\ude00","value":-0.0}]}}',
        '{"body":{"phonon-uuid":"a","keys":[{"name":"\\ud83d","value":1}]}}',
        '{"body":{"phonon-uuid":"a","keys":[{"name":"n","value":BIG},{"name":"n","value":1e400}]}}',
        '{"body":{"phonon-uuid":"a","keys":[{"name":"n","value":18446744073709551616}]}}',
        '\ufeff{"body":{"phonon-uuid":"a","callDetails":[{"foreignCallIds":["a"],"dtmfPressesd":[{"key":"1"}]}]}}',
        '{"body":{"phonon-uuid":"a","emailDetails":[{"size":1e2,"addresses":[{"id":"x"}]}],"smsDetails":[{}]}}',
    ],
)
def test_what_json_leaves_open_is_read_alike_in_both_ways(body: str) -> None:
    sent = body.replace("BIG", "1" + "0" * 400).encode()
    both = read_document(sent), read_any(json_text.read(sent))
    one, other = (split(document, received_at=1, rules=RULES) for document in both)
    assert one == other


@pytest.mark.parametrize("number", ["12345678901234567890123", "-9223372036854775808", "16.0", "0.5", "1" + "0" * 400])
def test_what_a_number_is_does_not_depend_on_what_else_is_odd(number: str) -> None:
    row = f'{{"cdrId":{number},"hangupCause":{number},"duration":{number},"calleeNumber":{number},"other":{number}}}'
    read = []
    for odd in ("1", "1e400", '"\\ud800"'):
        (leg,) = (rows := Rows(read_document(f'{{"callDetails":[{row}],"odd":{odd}}}'.encode()))).legs
        read.append((leg, rows.notes(0, leg)))
    assert read[0] == read[1] == read[2]


def test_a_usual_document_has_fewer_bytes_than_there_may_be_rows() -> None:
    body = b'{"body":{"phonon-uuid":"a","keys":[%s]}}'
    assert read_document(body % b"{}").usual
    assert not read_document(body % b",".join([b"{}"] * (MOST_ROWS // 2))).usual


@pytest.mark.parametrize("size", ["9" * 300 + "e99", "1e400", 2**64, "0x10", "nan", True])
def test_a_number_that_is_none_or_too_large_is_unreadable(size: Any) -> None:
    notes = Notes(0)
    assert notes.decimal("size", size) is None
    assert (notes.anomalies, notes.extra) == (("size:unreadable",), {"size": json.dumps(size)})


@pytest.mark.parametrize("number", [-(2**63), -1_000, 0, 1_000, 2**63 - 1])
def test_a_whole_number_is_one_of_64_bits(number: int) -> None:
    notes = Notes(0)
    assert notes.whole("duration", number) == number
    assert notes.decimal("size", number) == float(number)
    assert notes == Notes(0)
    beyond = number + (1 if number > 0 else -1)
    found = notes.whole("duration", beyond)
    assert (found, notes.anomalies) == (
        (beyond, ()) if -(2**63) <= beyond < 2**63 else (None, ("duration:unreadable",))
    )
