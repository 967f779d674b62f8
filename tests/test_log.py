"""Log lines: structured, and without the messages of exceptions, which quote values."""

import json
import logging
import subprocess
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


SAID = """
import logging
from pathlib import Path
from app import log
log.configure("info", "FORM")
logging.getLogger("uvicorn.access").error("POST /webhooks/phonon/t0ken")
logging.getLogger("librdkafka").critical("fatal")
logging.getLogger("uvicorn").info("started")
logging.getLogger("asyncio").info("selector")
logging.getLogger("app").debug("fine")
logging.getLogger("app").info("%d %d", "an error of ours")
logging.getLogger("app").info("listening", extra={"fields": {"at": Path("/x")}})
"""


@pytest.mark.parametrize(("form", "line"), [("console", "info    listening at=/x"), ("json", '"at": "/x"}')])
def test_of_what_libraries_say_only_what_matters_is_logged(form: str, line: str) -> None:
    """uvicorn's own lines hold paths, and these tokens; librdkafka says the same again and again."""
    command = [sys.executable, "-c", SAID.replace("FORM", form)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    [said] = done.stderr.splitlines()
    assert said.endswith(line)
    assert done.stdout == ""


def test_a_flow_id_that_is_no_uuid_is_a_digest() -> None:
    assert shown("6629a6f5-af55-41e8-a8a4-9b7b73fcf5c4") == "6629a6f5-af55-41e8-a8a4-9b7b73fcf5c4"
    assert shown("+912243692987") == shown("+912243692987")
    assert shown("+912243692987").startswith("#")
    assert "912243692987" not in shown("+912243692987")
