"""Log lines: structured, and without the messages of exceptions, which quote values."""

import json
import logging
import sys

import pytest

from app.log import ConsoleLines, JsonLines
from app.log_line import shown


def record(message: str, fields: dict[str, object] | None = None, *, failing: bool = False) -> logging.LogRecord:
    made = logging.LogRecord("app", logging.INFO, __file__, 1, message, (), None)
    made.__dict__["fields"] = fields or {}
    if failing:
        try:
            dict[str, str]()["912243692987"]
        except KeyError:
            made.exc_info = sys.exc_info()
    return made


def test_json_is_one_object_a_line() -> None:
    line = JsonLines().format(record("a\nb", {"status": 200}))
    assert "\n" not in line
    assert json.loads(line) | {"time": ""} == {"time": "", "level": "info", "event": "a b", "status": 200}


def test_console_is_one_line() -> None:
    line = ConsoleLines().format(record("a\nb", {"status": 200}))
    assert line.endswith("info    a b status=200")


@pytest.mark.parametrize("form", [JsonLines(), ConsoleLines()])
def test_an_exception_is_a_type_and_places(form: logging.Formatter) -> None:
    line = form.format(record("failed", failing=True))
    assert "KeyError at test_log.py:" in line
    assert "912243692987" not in line
    assert "\n" not in line


def test_a_flow_id_that_is_no_uuid_is_a_digest() -> None:
    assert shown("6629a6f5-af55-41e8-a8a4-9b7b73fcf5c4") == "6629a6f5-af55-41e8-a8a4-9b7b73fcf5c4"
    assert shown("+912243692987") == shown("+912243692987")
    assert shown("+912243692987").startswith("#")
    assert "912243692987" not in shown("+912243692987")
