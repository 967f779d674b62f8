"""The provider's document as typed rows, read leniently: every field is optional, and nothing that was sent is lost.

Pure. A row that is as the provider's page says becomes its struct in one step, in C. Any other is read field by field
into the same struct, and what it does not know, or what is not of the right kind, goes to its notes. Whether a text is
a time or a number is read by whoever needs it (`Notes.time` and others), and noted in the same way.
Source: the provider's page "Payload Details and Format".
"""

import re
from collections.abc import Callable
from datetime import tzinfo
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from app import json_text
from app.json_text import NotJson
from app.telephony import instant

FLOW_ID: Final = "phonon-uuid"
SECTIONS: Final = ("callDetails", "smsDetails", "emailDetails", "keys", "recordingUrls")
KNOWN: Final = frozenset({FLOW_ID, *SECTIONS})

_LONGEST_ID: Final = 256  # ids and DIDs are repeated on every event: a longer text is none, and stays in extra
_WHOLE: Final = re.compile(r"\s*([+-]?\d{1,18})(\.0*)?\s*", re.ASCII)
_DECIMAL: Final = re.compile(r"\s*[+-]?\d{1,300}(\.\d*)?([eE][+-]?\d{1,2})?\s*", re.ASCII)
_FLAGS: Final = {"true": True, "false": False}
_INT64: Final = range(-(2**63), 2**63)


class NotADelivery(ValueError):  # noqa: N818 - it names what the body is
    """A JSON object that holds none of the provider's fields, wrapped or not."""


class Document(NamedTuple):
    """A delivery's document, and what stood around it where it was wrapped in `body`."""

    fields: dict[str, Any]
    around: dict[str, Any]


def read_document(body: bytes) -> Document:
    """The document of a body; raises NotJson (also where it is no object) or NotADelivery."""
    value = json_text.read(body)
    if not isinstance(value, dict):
        raise NotJson("JSON, but not an object")
    inner = value.get("body")
    if isinstance(inner, dict) and _is_known(inner):
        return Document(inner, {name: sent for name, sent in value.items() if name != "body"})
    if _is_known(value):
        return Document(value, {})
    raise NotADelivery(f"none of {', '.join(sorted(KNOWN))} is there, at the top or in body")


def _is_known(fields: dict[str, Any]) -> bool:
    return fields.get(FLOW_ID) is not None or any(fields.get(name) is not None for name in KNOWN)


# What a field holds once its row is read. A text that is repeated on other events (an id, a DID) must be short; what is
# Any is read from there on by whoever needs it.
Text = str | None
ShortText = Annotated[str, Meta(max_length=_LONGEST_ID)] | None
Texts = list[str] | None


class Leg(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """A row of callDetails."""

    cdr_id: ShortText = None
    callee_type: Text = None
    callee_number: Text = None
    start_time: Any = None
    ringing_start_time: Any = None
    connect_time: Any = None
    end_time: Any = None
    did_number: ShortText = None
    hangup_cause: Text = None
    duration: Any = None
    incoming: Any = None
    remote_hangup: Any = None
    is_ringing: Any = field(default=None, name="is_ringing")
    foreign_call_ids: Texts = None
    presses: Any = field(default=None, name="dtmfPressesd")


class Press(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """A key that was pressed, in a leg."""

    key: Text = None
    label: Text = None
    event_time: Any = None


class SentSms(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """A row of smsDetails."""

    send_time: Any = None
    id: Text = None
    delivery_status: Text = None
    text: Text = None
    sender: Text = field(default=None, name="from")
    to: Text = None


class SentEmail(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """A row of emailDetails."""

    send_time: Any = None
    id: Text = None
    sender: Text = field(default=None, name="from")
    addresses: Any = None
    subject: Text = None
    content: Text = None
    size: Any = None


class Address(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """A recipient of an e-mail."""

    id: Text = None
    type: Text = None
    delivery_status: Text = None


class Key(Struct, gc=False, forbid_unknown_fields=True):
    """A row of keys."""

    name: Text = None
    value: Any = None


class SentRecording(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """A row of recordingUrls."""

    recorded_file_name: Text = None
    recorded_file_public_path: Text = None


class Notes(Struct, gc=False):
    """What is odd about a row: anomalies, and JSON text by sent name of what nobody took or could read.

    Readers take a value of the struct and return None for null, for absent, and for what they can't read and so note.
    """

    anomalies: list[str] = []
    extra: dict[str, str] = {}

    def keep(self, name: str, value: Any) -> None:
        """Keeps a value."""
        self.extra[name] = json_text.write(value)

    def unreadable(self, name: str, value: Any) -> None:
        """Keeps a value and notes that it could not be read."""
        self.keep(name, value)
        self.anomalies.append(f"{name}:unreadable")

    def time(self, name: str, value: Any, zone: tzinfo) -> int | None:
        """An ISO 8601 time as ms since 1970 UTC."""
        if value is None:
            return None
        at = instant(value, zone) if type(value) is str else None
        if at is None:
            self.unreadable(name, value)
        return at

    def whole(self, name: str, value: Any) -> int | None:
        """A whole number of 64 bits, or its text."""
        if value is None or (type(value) is int and value in _INT64):
            return value
        if type(value) is str and (match := _WHOLE.fullmatch(value)):
            return int(match[1])
        if type(value) is float and value.is_integer() and int(value) in _INT64:
            return int(value)
        self.unreadable(name, value)
        return None

    def decimal(self, name: str, value: Any) -> float | None:
        """A number, or its text."""
        if value is None or type(value) is float:
            return value
        if (type(value) is int and value in _INT64) or (type(value) is str and _DECIMAL.fullmatch(value)):
            return float(value)
        self.unreadable(name, value)
        return None

    def flag(self, name: str, value: Any) -> bool | None:
        """A boolean, or "true" or "false"."""
        if value is None or type(value) is bool:
            return value
        if type(value) is str and (word := value.strip().lower()) in _FLAGS:
            return _FLAGS[word]
        self.unreadable(name, value)
        return None


R = TypeVar("R", bound=Struct)


def read(fields: dict[str, Any], kind: type[R]) -> tuple[R, Notes]:
    """A row, and what is odd about it."""
    try:
        return msgspec.convert(fields, kind), Notes()
    except msgspec.ValidationError:
        return read_leniently(fields, kind)


def read_leniently(fields: dict[str, Any], kind: type[R]) -> tuple[R, Notes]:
    """What `read` does with a row that does not fit; with one that fits it does the same, slower."""
    notes, taken, known = Notes(), {}, _KNOWN_FIELDS[kind]
    for name, take in known.items():
        value = fields.get(name)
        if value is None:
            continue
        taken[name] = take(value)
        if taken[name] is None:
            notes.unreadable(name, value)
    for name, value in fields.items():
        if name not in known and value is not None:
            notes.keep(name, value)
    return msgspec.convert(taken, kind), notes


def _text(value: Any) -> str | None:
    """Text as sent; a whole number counts as its digits."""
    return value if type(value) is str else str(value) if type(value) is int else None


def short_text(value: Any) -> str | None:
    """Text that is repeated on other events: an id or a DID."""
    found = _text(value)
    return found if found is not None and len(found) <= _LONGEST_ID else None


def _texts(value: Any) -> list[str] | None:
    if type(value) is list and all(type(item) in (str, int) for item in value):
        return [str(item) for item in value]
    return None


_TAKE: Final[dict[Any, Callable[[Any], Any]]] = {
    Text: _text,
    ShortText: short_text,
    Texts: _texts,
    Any: lambda value: value,
}
_KNOWN_FIELDS: Final[dict[type[Struct], dict[str, Callable[[Any], Any]]]] = {
    kind: {one.encode_name: _TAKE[one.type] for one in msgspec.structs.fields(kind)}
    for kind in (Leg, Press, SentSms, SentEmail, Address, Key, SentRecording)
}
