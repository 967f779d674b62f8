"""What is told of an alert: a DidAlert record as the JSON of a Standard Webhooks message. Pure.

An episode has two messages, each with an id of its own made from what happened, so that a message that is sent again is
recognised. The id holds no full stop: it is signed together with time and body, joined by full stops.
Source: Standard Webhooks 1.0, "Payload structure" and "Webhook metadata".
"""

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from schemas import Resolve, Undecodable, decode, without_registry

STATES: Final = ("FIRING", "RESOLVED")
#: What can stand in a header and is no full stop.
ID: Final = re.compile(r"[!-\-/-~]{1,200}", re.ASCII)

as_json: Final = msgspec.json.Encoder().encode


class Notification(NamedTuple):
    """One message: its webhook-id, its alert, its body, and when Kafka got the record, ms."""

    id: str
    alert_id: str
    rule: str
    state: str
    body: bytes
    written_at: int


def read(value: bytes | None, written_at: int, resolve: Resolve = without_registry) -> Notification:
    """A record of the alerts topic as a message. Raises Undecodable and what `resolve` does."""
    record, fields = decode(value, resolve)
    if record != "DidAlert":
        raise Undecodable(f"a {record} among the alerts")
    alert_id, state = fields["alert_id"], fields["state"]
    if state not in STATES or not ID.fullmatch(alert_id):
        raise Undecodable("an alert with an id or a state that is none")
    try:
        moment = datetime.fromtimestamp(fields["as_of"] / 1000, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        raise Undecodable("an alert of no time") from None
    content = {
        "type": f"did_alert.{state.lower()}",
        "timestamp": moment.replace("+00:00", "Z"),
        "data": fields,
    }
    return Notification(f"{alert_id}_{state.lower()}", alert_id, fields["rule"], state, as_json(content), written_at)
