"""The events as structs, field for field as in schemas/*.avsc (a test holds that).

Pure. Times are ms since 1970 UTC, spans are ms. None stands for null. CallLeg and Flow are made by position: beyond
15 keyword arguments Python builds a dict first, which costs eight times as much (7 % of the pure middle).
"""

from typing import Any

import msgspec

#: The fields of `Event`, in its order.
Common = tuple[str, str, str, int, int, tuple[str, ...], dict[str, str]]


class Event(msgspec.Struct, gc=False):
    """What every event has."""

    event_id: str
    flow_id: str
    did: str
    occurred_at: int
    received_at: int
    anomalies: tuple[str, ...]
    extra: dict[str, str]


class CallLeg(Event, gc=False):
    """One leg of a call."""

    cdr_id: str | None
    role: str
    callee_type: str | None
    callee_number: str | None
    did_as_sent: str | None
    direction: str
    started_at: int | None
    ringing_at: int | None
    connected_at: int | None
    ended_at: int | None
    answered: bool
    disposition: str
    hangup_cause: str | None
    duration_ms: int | None
    setup_ms: int | None
    ring_ms: int | None
    talk_ms: int | None
    remote_hangup: bool | None
    is_ringing: bool | None
    dtmf_count: int
    foreign_call_ids: list[str]


class Dtmf(Event, gc=False, kw_only=True):
    """One press of a key."""

    cdr_id: str | None
    role: str
    direction: str
    key: str
    label: str | None
    position: int
    ms_since_answer: int | None


class Sms(Event, gc=False, kw_only=True):
    """One SMS."""

    sms_id: str | None
    sender: str | None
    recipient: str | None
    text: str | None
    text_length: int
    delivery_status: str | None


class EmailRecipient(msgspec.Struct, gc=False, kw_only=True):
    """One recipient of an e-mail."""

    address: str | None
    type: str | None
    delivery_status: str | None


class Email(Event, gc=False, kw_only=True):
    """One e-mail."""

    email_id: str | None
    sender: str | None
    subject: str | None
    content: str | None
    size_kb: float | None
    recipients: list[EmailRecipient]


class FlowKey(Event, gc=False, kw_only=True):
    """One variable of the flow."""

    name: str
    value: str | None


class Recording(Event, gc=False, kw_only=True):
    """One recording."""

    file_name: str | None
    url: str | None
    url_expires_at: int | None


class Flow(Event, gc=False):
    """The whole call, for one DID. Its legs are CallLegs: the schema takes from them what FlowLeg has."""

    main: bool
    direction: str
    disposition: str
    reached: bool
    agent_reached: bool
    started_at: int | None
    ended_at: int | None
    talk_ms: int
    time_to_agent_ms: int | None
    legs: list[CallLeg]
    dtmf_count: int
    sms_count: int
    email_count: int
    key_count: int
    recording_count: int
    rejected_count: int
    caller: str | None = None
    menu_path: str | None = None
    time_to_first_key_ms: int | None = None
    time_after_last_key_ms: int | None = None


class Rejected(msgspec.Struct, gc=False, kw_only=True):
    """A part of a delivery that could not be read. Its id is the record's `ce_id`: the schema has no field for it."""

    event_id: str
    flow_id: str
    section: str
    index: int | None
    reason: str
    payload: str
    received_at: int


def as_dict(event: Any) -> dict[str, Any]:
    """An event as builtins, for tests and tools."""
    return dict(msgspec.json.decode(msgspec.json.encode(event, enc_hook=dict)))
