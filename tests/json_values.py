"""Strategies for deliveries: well-formed ones, and documents in which anything may stand anywhere."""

from datetime import datetime
from typing import Any

from hypothesis import strategies as st

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(["", " ", "true", "16", "5", "+912243692987", "2022-11-29T23:49:00.08+05:30", "2022-11-29"]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)

TIMES = st.datetimes(min_value=datetime(2022, 1, 1)).map(lambda at: at.isoformat() + "+05:30")
DIDS = st.sampled_from(["912243692987", "+912243692987", "02243692988", "14155552671", "56767", "", " "])


#: The fields of each kind of row. One that the reader knows and that is not here is one that nothing is tried on.
NAMES: dict[st.SearchStrategy[Any], set[str]] = {}


def row(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """A row in which each known field is right, or anything, or missing, beside unknown fields."""
    known = st.fixed_dictionaries({}, optional={name: value | SCALARS for name, value in fields.items()})
    rows = st.builds(
        lambda extra, own: {**extra, **own}, st.dictionaries(st.text(max_size=5), ANYTHING, max_size=1), known
    )
    NAMES[rows] = set(fields)
    return rows


PRESS = row({"key": st.sampled_from("0123456789*#"), "eventTime": TIMES, "label": st.text(max_size=4)})
LEG = row(
    {
        "cdrId": st.sampled_from(["a", "b", "c"]),
        "startTime": TIMES,
        "ringingStartTime": TIMES,
        "connectTime": TIMES,
        "endTime": TIMES,
        "calleeNumber": DIDS,
        "didNumber": DIDS,
        "hangupCause": st.integers(-2, 130).map(str),
        "duration": st.integers(0, 10**7).map(str),
        "dtmfPressesd": st.lists(PRESS | SCALARS, max_size=3),
        "incoming": st.booleans(),
        "calleeType": st.sampled_from(["VISITOR", "AGENT", "HARD_PHONE"]),
        "remoteHangup": st.booleans(),
        "is_ringing": st.sampled_from(["true", "false"]),
        "foreignCallIds": st.lists(st.text(max_size=3), max_size=2),
    }
)
STATUS = st.sampled_from(["SENT_TO_QUEUE", "DELIVERED", ""])
SMS = row(
    {
        "id": st.sampled_from(["s", "t"]),
        "text": st.text(),
        "to": DIDS,
        "from": st.text(),
        "sendTime": TIMES,
        "deliveryStatus": STATUS,
    }
)
ADDRESS = row({"id": st.text(max_size=5), "type": st.sampled_from(["TO", "CC"]), "deliveryStatus": st.text(max_size=3)})
EMAIL = row(
    {
        "id": st.sampled_from(["e"]),
        "size": st.floats(0, 9),
        "addresses": st.lists(ADDRESS | SCALARS, max_size=2),
        "subject": st.text(max_size=4),
        "content": st.text(max_size=4),
        "from": st.text(max_size=4),
        "sendTime": TIMES,
    }
)
KEY = row({"name": st.sampled_from(["a", "b"]), "value": ANYTHING})
RECORDING = row({"recordedFileName": st.sampled_from(["f", "g"]), "recordedFilePublicPath": st.text(max_size=20)})


def _section(rows: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(rows | SCALARS, max_size=4) | ANYTHING


DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "phonon-uuid": st.uuids().map(str) | SCALARS,
        "callDetails": _section(LEG),
        "smsDetails": _section(SMS),
        "emailDetails": _section(EMAIL),
        "keys": _section(KEY),
        "recordingUrls": _section(RECORDING),
        "flowStatus": ANYTHING,
    },
)
