"""Made-up alerts, as the workers write them."""

import uuid
from typing import Any

from schemas import encode

SINCE = 1_767_607_200_000
DID = "+912243692987"


def fields(number: int, state: str = "FIRING", **other: Any) -> dict[str, Any]:
    """What the record of an alert holds; the same number is the same alert."""
    made: dict[str, Any] = {
        "alert_id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
        "rule": "few answers",
        "did": DID,
        "group": None,
        "metric": "answer_seizure_ratio",
        "window": "5m",
        "value": 0.25,
        "n": 120,
        "threshold": 0.5,
        "state": state,
        "since": SINCE + number * 60_000,
        "as_of": SINCE + (number + (5 if state == "FIRING" else 9)) * 60_000,
    }
    return made | other


def value(number: int, state: str = "FIRING", **other: Any) -> bytes:
    """The record, framed."""
    return encode("DidAlert", fields(number, state, **other))


def webhook_id(number: int, state: str = "FIRING") -> str:
    """The id under which it is told."""
    return f"{fields(number)['alert_id']}_{state.lower()}"
