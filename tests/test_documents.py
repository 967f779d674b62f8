"""Documents that machines read are what the code's tables make, and what their own field's tools accept.

AsyncAPI's parser is a program for Node (15 s and 55 MB, once).
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from app.raw import Raw
from app.records import Record
from app.segment import Row
from deploy.documents.__main__ import documents, text
from schemas.topics import BY_RECORD, TOPICS, topics_by_name
from tests.node import installed

ROOT = Path(__file__).parent.parent
TOOL = Path(__file__).parent / "asyncapi"
WARNING = 1
"""Severities are those of Spectral: 0 error, 1 warning, 2 and 3 advice."""


@pytest.mark.parametrize("name", documents())
def test_what_is_committed_is_what_the_code_makes(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == text(documents()[name]), "run `make docs`"


def test_openapi_is_valid() -> None:
    validate(json.loads((ROOT / "docs/openapi.json").read_text()))


@pytest.fixture(scope="session")
def parser() -> Path:
    """AsyncAPI's parser, ready to run."""
    home = installed(TOOL)
    shutil.copy(TOOL / "validate.mjs", home)
    return home / "validate.mjs"


def parsed(parser: Path, document: Path) -> dict[str, Any]:
    """What the parser says: its messages, and what it found wrong."""
    done = subprocess.run(["node", parser, document], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    said["found"] = [found for found in said["found"] if found["severity"] <= WARNING]
    return said


def test_asyncapi_is_what_its_own_parser_takes(parser: Path) -> None:
    said = parsed(parser, ROOT / "docs/asyncapi.json")
    assert said["found"] == []
    assert sorted(said["messages"]) == sorted(["Delivery", *(topic.record for topic in TOPICS)])


def test_asyncapis_parser_follows_the_schemas(parser: Path, tmp_path: Path) -> None:
    """A schema that is no Avro is found: so the others were read."""
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas", ignore=shutil.ignore_patterns("*.py*", "released"))
    (tmp_path / "docs").mkdir()
    for name in ("asyncapi", "openapi"):
        shutil.copy(ROOT / f"docs/{name}.json", tmp_path / "docs")
    schema = tmp_path / "schemas/Flow.avsc"
    schema.write_text(schema.read_text().replace('"type": "string"', '"type": "strong"', 1))
    assert "strong" in parsed(parser, tmp_path / "docs/asyncapi.json")["found"][0]["message"]


def test_asyncapi_shows_every_topic_with_its_schema() -> None:
    document = json.loads((ROOT / "docs/asyncapi.json").read_text())
    addresses = {kind: channel["address"] for kind, channel in document["channels"].items()}
    assert addresses == {topic.kind: name for name, topic in topics_by_name("phonon", raw=True).items()}
    payloads = {record: message["payload"] for record, message in document["components"]["messages"].items()}
    assert payloads.pop("Delivery") == {"$ref": "openapi.json#/components/schemas/Delivery"}
    for record, payload in payloads.items():
        path = ROOT / "docs" / payload["schema"]["$ref"]
        assert json.loads(path.read_text())["name"] == BY_RECORD[record].schema


def test_asyncapis_raw_body_has_the_headers_that_it_is_sent_with() -> None:
    raw = json.loads((ROOT / "docs/asyncapi.json").read_text())["components"]["messages"]["Delivery"]
    sent = dict(Raw("phonon")(Row(0, "", b"{}"), [Record("t", b"k", b"v", [])], flow_id="f").headers)
    consts = {name: shape["const"].encode() for name, shape in raw["headers"]["properties"].items() if "const" in shape}
    assert consts == {name: sent[name] for name in ("ce_specversion", "ce_type", "content-type")}


def test_asyncapis_headers_are_those_that_are_sent() -> None:
    sent = set(re.findall(r'"(ce_\w+|content-type|traceparent)"', (ROOT / "app/records.py").read_text()))
    document = json.loads((ROOT / "docs/asyncapi.json").read_text())
    assert set(document["components"]["messages"]["Flow"]["headers"]["properties"]) == sent
