"""Log lines on stderr, console or JSON: structured, one per delivery, and without anything that was sent.

An exception is shown as its type and the places it went through, never its message: messages quote values.
"""

import json
import logging
import sys
import time
import traceback
from types import TracebackType
from typing import Any, Final

LIBRARIES: Final = {
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,  # on by default under plain uvicorn: its lines hold paths, and these tokens
    "librdkafka": logging.CRITICAL + 1,  # publish says once what it says again and again, fatal errors too
    "asyncio": logging.WARNING,
}
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure(level: str, form: str) -> None:
    """Send all logging to stderr in the given form (`console` or `json`)."""
    target = logging.StreamHandler(sys.stderr)
    target.setFormatter(JsonLines() if form == "json" else ConsoleLines())
    logging.basicConfig(level=level.upper(), handlers=[target], force=True)
    for name, least in LIBRARIES.items():
        logging.getLogger(name).setLevel(least)
    logging.raiseExceptions = False


class ConsoleLines(logging.Formatter):
    """For people: time, level, what, and its fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        stamp = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{stamp} {record.levelname.lower():7} {_text(record)} {fields}".rstrip()


class JsonLines(logging.Formatter):
    """For machines: one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {"time": f"{stamp}.{int(record.msecs):03d}Z", "level": record.levelname.lower(), "event": _text(record)}
        return json.dumps(line | _fields(record), default=str)


def _text(record: logging.LogRecord) -> str:
    return " ".join(record.getMessage().split())


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = dict(getattr(record, "fields", {}))
    if record.exc_info and record.exc_info[0]:
        fields["error"] = where(record.exc_info)
    return fields


def where(error: ExcInfo) -> str:
    """An exception's type and the places it passed, innermost last."""
    kind, _, trace = error
    places = (f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in traceback.extract_tb(trace))
    return f"{kind.__name__ if kind else '?'} at {' > '.join(places)}"
