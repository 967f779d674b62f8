"""What the synthetic provider knows of one call: facts, before anyone spells them as JSON. Pure.

A fact that the delivery will not tell is None here, so that what should come of a delivery (app/demo/answers.py) is
worked out from these alone. All times are ms since 1970 UTC; numbers are E.164.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Row:
    """What every row of a delivery may carry beside its facts: what was odd, and what the reader must keep as sent."""

    anomalies: list[str] = field(default_factory=list)
    extra: dict[str, str] = field(default_factory=dict)
    sent: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Press:
    key: str
    at: int | None
    label: str


@dataclass(slots=True)
class Leg(Row):
    """One leg as it was. `did` and `number` are E.164; their spellings on the wire are chosen by the provider."""

    cdr_id: str | None = None
    callee_type: str | None = "VISITOR"
    did: str | None = None
    did_sent: str | None = None
    number: str = ""
    number_sent: str = ""
    incoming: bool | None = False
    outcome: str = "ANSWERED"
    cause: str | None = None
    started: int | None = None
    ringing: int | None = None
    connected: int | None = None
    ended: int | None = None
    duration: int | None = None
    remote_hangup: bool | None = None
    is_ringing: bool | None = None
    presses: list[Press] = field(default_factory=list)
    foreign_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Message(Row):
    """An SMS or an e-mail; `recipients` are (address, type, status)."""

    id: str | None = None
    sender: str = ""
    text: str = ""
    subject: str = ""
    size_kb: float = 0.0
    status: str = "SENT_TO_QUEUE"
    sent_at: int | None = None
    recipients: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Recording(Row):
    file_name: str = ""
    url: str = ""
    expires_at: int = 0


@dataclass(slots=True)
class Call(Row):
    """One flow of the provider: everything that one delivery tells. `rejects` are (section, index) of broken parts."""

    id: str | None = None
    ended: int = 0
    legs: list[Leg] = field(default_factory=list)
    sms: list[Message] = field(default_factory=list)
    emails: list[Message] = field(default_factory=list)
    keys: list[tuple[str, Any]] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)
    rejects: list[tuple[str, int | None]] = field(default_factory=list)
