"""The provider's document as typed rows, read leniently: every field is optional, and nothing that was sent is lost.

Pure. A usual document, all of which is as the provider's page says, becomes structs straight from its bytes, in C. Any
other is read as JSON first, and its rows one by one where they do not all fit; a row that does not fit is read field by
field, into the same structs. What nobody knows, or what is of the wrong kind, goes to the row's notes. What a text
means (a time, a number) is read by whoever needs it, through the notes.
Source: the provider's page "Payload Details and Format".
"""

import re
from collections.abc import Callable
from datetime import tzinfo
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar, cast

import msgspec
from msgspec import Struct

from app import json_text
from app.json_text import NotJson
from app.rows import (
    LONGEST_ID,
    Address,
    Key,
    Leg,
    Press,
    Scalar,
    Sections,
    SentEmail,
    SentRecording,
    SentSms,
    ShortText,
    Text,
    Texts,
    Usual,
    Wrapped,
)
from app.telephony import instant

FLOW_ID: Final = "phonon-uuid"
SECTIONS: Final = ("callDetails", "smsDetails", "emailDetails", "keys", "recordingUrls")
KNOWN: Final = frozenset({FLOW_ID, *SECTIONS})
PRESSES: Final = "dtmfPressesd"
ADDRESSES: Final = "addresses"
#: Before the name of a field beside `body` where one in it has the same name: as in a path, one level up.
BESIDE: Final = "../"
MOST_ROWS: Final = 50_000

_WHOLE: Final = re.compile(r"\s*([+-]?\d{1,18})(\.0*)?\s*", re.ASCII)
_DECIMAL: Final = re.compile(r"\s*[+-]?\d{1,300}(\.\d*)?([eE][+-]?\d{1,2})?\s*", re.ASCII)
_FLAGS: Final = {"true": True, "false": False}
_INT64: Final = range(-(2**63), 2**63)
_EXACT: Final = 2**53  # below it a float has all digits of a whole number


class NotADelivery(ValueError):  # noqa: N818 - it names what the body is
    """A JSON object that holds none of the provider's fields, wrapped or not."""


class TooManyRows(ValueError):  # noqa: N818 - it names what the delivery has
    """A delivery with more rows than any flow has: its events would not fit into memory."""


class Document(Struct, gc=False):
    """A delivery's document, and what stood around it where it was wrapped in `body`.

    A usual one holds nothing but its rows, and they are read already: its fields are not kept.
    """

    fields: dict[str, Any]
    around: dict[str, Any]
    usual: Usual | None = None


def read_document(body: bytes) -> Document:
    """The document of a body; raises NotJson (also where it is no object) or NotADelivery."""
    return _usual(body) or read_any(json_text.read(body))


def _usual(body: bytes) -> Document | None:
    """A document as the provider's page shows it: from bytes to rows in one step, at half the cost of two."""
    if len(body) > MOST_ROWS:  # with fewer bytes there can't be more rows
        return None
    try:
        usual = _USUAL.decode(body).body
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return Document({}, {}, usual) if usual.flow_id and not usual.flow_id.isspace() else None


def read_any(value: Any) -> Document:
    """The document of any JSON. Raises NotJson or NotADelivery."""
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


_USUAL: Final = msgspec.json.Decoder(Wrapped)


#: The `extra` of nearly all rows, shared, and nothing can be put into it by mistake: together with the shared tuple of
#: no anomalies that saves 3 % of the pure middle.
NOTHING: Final = cast(dict[str, str], MappingProxyType({}))


class Notes(Struct, gc=False):
    """What is odd about a row: anomalies, and by sent name the JSON text of what is unknown or unreadable; its place.

    Readers take a value of the struct and return None for null, for absent, and for what they can't read and so note.
    """

    place: int
    anomalies: tuple[str, ...] = ()
    extra: dict[str, str] = NOTHING

    def note(self, anomaly: str) -> None:
        """Notes an anomaly."""
        self.anomalies += (anomaly,)

    def keep(self, name: str, value: Any) -> None:
        """Keeps a value."""
        if self.extra is NOTHING:
            self.extra = {}
        self.extra[name] = json_text.write(value)

    def unreadable(self, name: str, value: Any) -> None:
        """Keeps a value and notes that it could not be read."""
        self.keep(name, value)
        self.note(f"{name}:unreadable")

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
        if type(value) is str and value.isdigit() and value.isascii() and len(value) < 19:
            return int(value)
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
            number = float(value)
            if isfinite(number):
                return number
        self.unreadable(name, value)
        return None

    def flag(self, name: str, value: Any) -> bool | None:
        """A boolean, or "true" or "false"."""
        if value is None or value is True or value is False:
            return value
        if type(value) is str and (word := value.strip().lower()) in _FLAGS:
            return _FLAGS[word]
        self.unreadable(name, value)
        return None


class Unread(NamedTuple):
    """A part of a document that is no row, or no list of rows."""

    section: str
    place: int | None
    reason: str
    value: Any


R = TypeVar("R", bound=Struct)


class Rows:
    """The rows of a document, what is odd about some of them, and what is no row. Raises TooManyRows."""

    def __init__(self, document: Document) -> None:
        self._odd: dict[int, Notes] = {}  # by id of the row
        self._count = 0
        self.unread: list[Unread] = []
        sections = document.usual or self._sections(document.fields)
        self.legs = sections.legs or []
        self.sms = sections.sms or []
        self.emails = sections.emails or []
        self.keys = sections.keys or []
        self.recordings = sections.recordings or []
        if document.usual is None:
            presses = sum([len(leg.presses) for leg in self.legs if leg.presses])
            rows = len(self.legs) + presses + len(self.sms) + len(self.emails) + len(self.keys) + len(self.recordings)
            self._limit(rows)

    def _sections(self, fields: dict[str, Any]) -> Sections:
        try:
            return msgspec.convert(fields, Sections)
        except msgspec.ValidationError:
            return Sections(
                self._rows("callDetails", fields.get("callDetails"), Leg),
                self._rows("smsDetails", fields.get("smsDetails"), SentSms),
                self._rows("emailDetails", fields.get("emailDetails"), SentEmail),
                self._rows("keys", fields.get("keys"), Key),
                self._rows("recordingUrls", fields.get("recordingUrls"), SentRecording),
            )

    def notes(self, place: int, row: Struct) -> Notes:
        """What is odd about a row that is the place-th of those that could be read."""
        return self._odd.get(id(row)) or Notes(place)

    def _limit(self, rows: int) -> None:
        if rows > MOST_ROWS:
            raise TooManyRows(f"more than {MOST_ROWS} rows")

    def _rows(self, section: str, value: Any, kind: type[R]) -> list[R]:
        """The rows of a list that are objects; what is no list or no object is unread."""
        if value is None:
            return []
        if not isinstance(value, list):
            self.unread.append(Unread(section, None, "not a list", value))
            return []
        self._count += len(value)
        self._limit(self._count)
        rows = []
        for place, item in enumerate(value):
            if isinstance(item, dict):
                rows.append(self._row(section, place, item, kind))
            else:
                self.unread.append(Unread(section, place, "not an object", item))
        return rows

    def _row(self, section: str, place: int, fields: dict[str, Any], kind: type[R]) -> R:
        """A row, with its notes."""
        notes = Notes(place)
        try:
            row = msgspec.convert(fields, kind)
        except msgspec.ValidationError:
            row = read_fields(fields, kind, notes)
            if isinstance(row, Leg):
                row.presses = self._rows(f"{section}[{place}].{PRESSES}", fields.get(PRESSES), Press)
            elif isinstance(row, SentEmail):
                row.addresses = self._addresses(fields.get(ADDRESSES), notes)
        self._odd[id(row)] = notes
        return row

    def _addresses(self, sent: Any, notes: Notes) -> list[Address]:
        """The recipients that can be read; where one can't, or holds more than we know, all are kept in extra too."""
        items = [item for item in sent if isinstance(item, dict)] if isinstance(sent, list) else []
        rows = [self._row(ADDRESSES, place, item, Address) for place, item in enumerate(items)]
        odd = [self._odd[id(row)] for row in rows]
        if sent is not None and (not isinstance(sent, list) or len(rows) < len(sent) or any(o.anomalies for o in odd)):
            notes.unreadable(ADDRESSES, sent)
        elif any(one.extra for one in odd):
            notes.keep(ADDRESSES, sent)
        return rows


def read_fields(fields: dict[str, Any], kind: type[R], notes: Notes) -> R:
    """A row read field by field, without the rows in it; where it could be read in one step it is the same row."""
    row, known = kind(), _FIELDS[kind]
    for name, value in fields.items():
        if value is not None and name not in known:
            notes.keep(name, value)
    for name, (own_name, take) in known.items():
        value = fields.get(name)
        if value is not None and take is not None:
            found = take(value)
            if found is None:
                notes.unreadable(name, value)
            setattr(row, own_name, found)
    return row


def _text(value: Any) -> str | None:
    """Text as sent; a whole number counts as its digits, also one written 16.0."""
    if type(value) is float and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    return value if type(value) is str else str(value) if type(value) is int else None


def short_text(value: Any) -> str | None:
    """Text that is repeated on other events: an id or a DID."""
    found = _text(value)
    return found if found is not None and len(found) <= LONGEST_ID else None


def _texts(value: Any) -> list[str] | None:
    if type(value) is list and all(type(item) in (str, int) for item in value):
        return [str(item) for item in value]
    return None


_TAKE: Final[dict[Any, Callable[[Any], Any]]] = {
    Text: _text,
    ShortText: short_text,
    Texts: _texts,
    Scalar: lambda value: value,
}
#: Of each kind of row: sent name -> name in the struct, and what reads it; None for rows in it.
_FIELDS: Final[dict[type[Struct], dict[str, tuple[str, Callable[[Any], Any] | None]]]] = {
    kind: {f.encode_name: (f.name, _TAKE.get(f.type)) for f in msgspec.structs.fields(kind)}
    for kind in (Leg, Press, SentSms, SentEmail, Address, Key, SentRecording)
}
