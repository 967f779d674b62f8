"""The provider's document, read leniently: every field is optional, and nothing that was sent is lost.

Pure. A `Row` is one object of the document; fields are taken from it one by one, and what nobody took, or what could
not be read as what it should be, is left as `extra`. Source: the provider's page "Payload Details and Format".
"""

import re
from datetime import tzinfo
from typing import Any, Final, NamedTuple

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
    return any(fields.get(name) is not None for name in KNOWN)


class Row:
    """One object of the document, from which fields are taken by name.

    Every reader returns None for null, for absent and for unreadable; unreadable is kept and noted as an anomaly.
    """

    __slots__ = ("_left", "anomalies")

    def __init__(self, fields: dict[str, Any]) -> None:
        self._left = dict(fields)
        self.anomalies: list[str] = []

    def text(self, name: str) -> str | None:
        """Text as sent; a whole number counts as its digits."""
        value = self._left.pop(name, None)
        if value is None or type(value) is str:
            return value
        if type(value) is int:
            return str(value)
        self.unreadable(name, value)
        return None

    def short_text(self, name: str) -> str | None:
        """Text that is repeated on other events: an id or a DID, at most 256 characters."""
        value = self.text(name)
        if value is None or len(value) <= _LONGEST_ID:
            return value
        self.unreadable(name, value)
        return None

    def time(self, name: str, zone: tzinfo) -> int | None:
        """An ISO 8601 time as ms since 1970 UTC."""
        value = self._left.pop(name, None)
        if value is None:
            return None
        if type(value) is str and (at := instant(value, zone)) is not None:
            return at
        self.unreadable(name, value)
        return None

    def whole(self, name: str) -> int | None:
        """A whole number of 64 bits, or its text."""
        value = self._left.pop(name, None)
        if value is None or (type(value) is int and value in _INT64):
            return value
        if type(value) is str and (match := _WHOLE.fullmatch(value)):
            return int(match[1])
        if type(value) is float and value.is_integer() and int(value) in _INT64:
            return int(value)
        self.unreadable(name, value)
        return None

    def decimal(self, name: str) -> float | None:
        """A number, or its text."""
        value = self._left.pop(name, None)
        if value is None or type(value) is float:
            return value
        if (type(value) is int and value in _INT64) or (type(value) is str and _DECIMAL.fullmatch(value)):
            return float(value)
        self.unreadable(name, value)
        return None

    def flag(self, name: str) -> bool | None:
        """A boolean, or "true" or "false"."""
        value = self._left.pop(name, None)
        if value is None or type(value) is bool:
            return value
        if type(value) is str and (word := value.strip().lower()) in _FLAGS:
            return _FLAGS[word]
        self.unreadable(name, value)
        return None

    def texts(self, name: str) -> list[str]:
        """A list of texts; empty for null and absent."""
        value = self._left.pop(name, None)
        if value is None:
            return []
        if type(value) is list and all(type(item) in (str, int) for item in value):
            return [str(item) for item in value]
        self.unreadable(name, value)
        return []

    def json(self, name: str) -> str | None:
        """Text as sent, any other value as its JSON text."""
        value = self._left.pop(name, None)
        return value if value is None or type(value) is str else json_text.write(value)

    def take(self, name: str) -> Any:
        """The value as it was sent."""
        return self._left.pop(name, None)

    def keep(self, name: str, value: Any) -> None:
        """Puts a value back: it goes to extra."""
        self._left[name] = value

    def keep_new(self, name: str, value: Any) -> None:
        """Adds a value to extra, unless one of that name is there."""
        self._left.setdefault(name, value)

    def unreadable(self, name: str, value: Any) -> None:
        """Puts a value back and notes that it could not be read."""
        self.keep(name, value)
        self.anomalies.append(f"{name}:unreadable")

    def extra(self) -> dict[str, str]:
        """What is left, as JSON text by sent name."""
        if not self._left:
            return {}
        return {name: json_text.write(value) for name, value in self._left.items() if value is not None}
