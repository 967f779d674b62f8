"""Reading: a row read in one step is the row read field by field, and what one way refuses the other one notes."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.delivery import Address, Key, Leg, Notes, Press, Rows, SentEmail, SentRecording, SentSms, read_fields
from tests.json_values import ADDRESS, DOCUMENTS, EMAIL, KEY, LEG, PRESS, RECORDING, SMS

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


@given(DOCUMENTS)
def test_one_odd_row_changes_nothing_for_the_others(document: Any) -> None:
    """A document that is read row by row, because of a key that is none, gives the same rows."""
    known = {name: value for name, value in document.items() if isinstance(value, list)}
    whole = Rows(known)
    piecewise = Rows({**known, "keys": [*known.get("keys", []), "none"]})
    assert (piecewise.legs, piecewise.sms, piecewise.emails) == (whole.legs, whole.sms, whole.emails)
    assert piecewise.keys == whole.keys
    assert piecewise.recordings == whole.recordings
    assert [part for part in piecewise.unread if part.value != "none"] == [
        part for part in whole.unread if part.value != "none"
    ]
