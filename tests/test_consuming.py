"""The programs and command lines that docs/consuming.md offers, run as they stand there against a real Kafka."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import Producer

from app.pipeline import make_pipeline
from app.records import Record
from app.segment import Row
from app.topics import create_topics
from schemas import SCHEMAS, decode, encode, header
from schemas.settings import Settings, read_settings
from schemas.topics import TOPICS, raw_topic_name, topic_name
from tests import maven
from tests.conftest import without_broker
from tests.node import installed
from tests.processes import clean_environment

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "consuming.md").read_text(encoding="utf-8")
XML, JAVA = (re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[0] for language in ("xml", "java"))
SCHEMA_FOLDER = str(ROOT / "schemas")
SHELL = "".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)).splitlines()
SQL = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)[0]
NODE = re.findall(r"```js\n(.*?)```", TEXT, re.DOTALL)[0]
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
DID = "+912243692987"
CALL = (
    b'{"phonon-uuid": "%d", "callDetails": [{"cdrId": "c%d", "calleeType": "VISITOR", "didNumber": "02243692987",'
    b'"startTime": "2026-01-05T10:00:00Z", "endTime": "2026-01-05T10:00:3%d.5Z", "hangupCause": "5"}]}'
)


WRAPPED = b'{"body": {"phonon-uuid": "wrapped"}}'


@pytest.fixture
def settings(kafka: Any, prefix: str) -> Settings:
    environ = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PHONON_TOPIC_PREFIX": prefix}
    found = read_settings(environ | {"PHONON_TOPIC_PARTITIONS": "2", "PHONON_RAW_TOPIC": "true"})
    create_topics(found)
    return found


def publish(settings: Settings, *records: Record) -> None:
    receivers = {"compression.type": "lz4"}
    producer = Producer({"bootstrap.servers": settings.kafka["bootstrap.servers"]} | receivers)
    for record in records:
        producer.produce(record.topic, record.value, record.key, headers=list(record.headers))
    assert producer.flush(10) == 0


def python(program: str, folder: Path) -> list[str]:
    """The command that runs a program, in a group that no other test's killed program holds a place in."""
    (folder / "program.py").write_text(program.replace("flows-in-python", f"{folder.name}-python"), encoding="utf-8")
    return [sys.executable, "program.py"]


def java(folder: Path) -> list[str]:
    """The same for the Java program, compiled."""
    jars = maven.jars("consuming", XML, folder)
    (folder / "Flows.java").write_text(JAVA.replace("flows-in-java", f"{folder.name}-java"), encoding="utf-8")
    subprocess.run(["javac", "-cp", f"{jars}/*", "Flows.java"], cwd=folder, timeout=60, check=True)
    return ["java", "-Xmx128m", "-cp", f"{jars}/*:.", "Flows"]


def node(folder: Path) -> list[str]:
    """The same for the program for Node. A newer Node warns of kafkajs's timers."""
    shutil.copytree(installed(ROOT / "tests" / "consuming") / "node_modules", folder / "node_modules")
    (folder / "flows.mjs").write_text(NODE.replace("flows-in-node", f"{folder.name}-node"), encoding="utf-8")
    return ["node", "--no-warnings", "flows.mjs"]


def shell(settings: Settings, line: str) -> list[str]:
    """The command of a line that is shown, with this test's broker and topics in place of those shown."""
    missing = [name for name in ("kcat", "jq") if not shutil.which(name)]
    if missing:
        without_broker(f"no {' and no '.join(missing)}", os.environ)
    here = line.replace("localhost:9092", settings.kafka["bootstrap.servers"])
    return ["bash", "-o", "pipefail", "-c", here.replace(" phonon.", f" {settings.topic_prefix}.")]


def environment(settings: Settings) -> dict[str, str]:
    """What a program of the document finds: Kafka, the topics' prefix, and our commands."""
    found = clean_environment(
        os.environ,
        {
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka["bootstrap.servers"],
            "PHONON_TOPIC_PREFIX": settings.topic_prefix,
        },
    )
    return found | {"PATH": f"{Path(sys.executable).parent}:{found['PATH']}"}


def lines(
    settings: Settings,
    command: Sequence[str],
    count: int,
    folder: Path,
    meanwhile: Callable[[], object] = lambda: None,
    *,
    end: signal.Signals = signal.SIGKILL,
) -> list[str]:
    """The first lines that a program prints, which runs for ever: then it is stopped, with all that it started."""
    log = folder / "out"
    with log.open("wb") as out:
        running = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(settings),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 30
        while log.read_text().count("\n") < count and time.monotonic() < deadline and running.poll() is None:
            meanwhile()
            time.sleep(0.1)
        time.sleep(0.5)  # whether there are more
    finally:
        os.killpg(running.pid, end)
        running.wait(60)
    return log.read_text().splitlines()


def said(settings: Settings, command: Sequence[str], folder: Path) -> tuple[list[str], str]:
    """What a command that ends prints, and what it complains of."""
    done = subprocess.run(
        command, cwd=folder, env=environment(settings), capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout.splitlines(), done.stderr


def flow_record(settings: Settings, n: int) -> Record:
    """The flow of a delivery, as a receiver publishes it."""
    made = make_pipeline(settings)(Row(1_767_607_300_000, "", CALL % (n, n, n)))
    topic = topic_name(settings.topic_prefix, "Flow")
    return next(record for record in made.records if record.topic == topic)


def publish_flow_of_the_first_release(settings: Settings) -> None:
    """A fourth one, with the fields and the fingerprint that the first version had."""
    first = json.loads((ROOT / "schemas" / "released" / "Flow.1.avsc").read_text(encoding="utf-8"))
    made, body = flow_record(settings, 4), io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(first, named_schemas={}), decode(made.value)[1])
    publish(settings, Record(made.topic, made.key, header(first) + body.getvalue(), []))


def publish_flows(settings: Settings) -> None:
    """Three flows, two of them twice."""
    publish(settings, *(flow_record(settings, n) for n in (1, 2, 1, 3, 2)))


@pytest.mark.broker
def test_the_python_program_prints_each_flow_once(settings: Settings, tmp_path: Path) -> None:
    publish_flows(settings)
    publish_flow_of_the_first_release(settings)
    assert lines(settings, [*python(PYTHON[0], tmp_path), SCHEMA_FOLDER], 4, tmp_path) == [
        f"{DID} BUSY 2026-01-05T10:00:3{n}.500000+00:00" for n in (1, 2, 3, 4)
    ]


@pytest.mark.broker
def test_the_java_program_prints_each_flow_once(settings: Settings, tmp_path: Path) -> None:
    publish_flows(settings)
    publish_flow_of_the_first_release(settings)
    assert lines(settings, [*java(tmp_path), SCHEMA_FOLDER], 4, tmp_path) == [f"{DID} BUSY"] * 4


@pytest.mark.broker
def test_the_node_program_prints_each_flow_once(settings: Settings, tmp_path: Path) -> None:
    publish_flows(settings)
    publish_flow_of_the_first_release(settings)
    assert lines(settings, [*node(tmp_path), SCHEMA_FOLDER], 4, tmp_path) == [
        f"{DID} BUSY 2026-01-05T10:00:3{n}.500Z" for n in (1, 2, 3, 4)
    ]


@pytest.mark.broker
@pytest.mark.parametrize("language", ["python", "java", "node"])
def test_after_ctrl_c_a_program_goes_on_at_once(language: str, settings: Settings, tmp_path: Path) -> None:
    """Its group would keep its place for 30 (kafkajs) or 45 s."""
    written: dict[str, Callable[[Path], list[str]]] = {"python": partial(python, PYTHON[0]), "java": java, "node": node}
    program = written[language](tmp_path)
    publish_flows(settings)
    assert len(lines(settings, [*program, SCHEMA_FOLDER], 3, tmp_path, end=signal.SIGINT)) >= 3
    publish_flows(settings)
    began = time.monotonic()
    assert lines(settings, [*program, SCHEMA_FOLDER], 3, tmp_path)[0].startswith(f"{DID} BUSY")
    assert time.monotonic() - began < 15


def test_what_flink_and_a_jdbc_sink_can_t_take_is_what_the_document_says() -> None:
    kinds = {field["name"]: field["type"] for field in SCHEMAS["Flow"]["fields"]}
    nested = {name: type_["type"] for name, type_ in kinds.items() if isinstance(type_, dict)}
    enums = {name for name, type_ in nested.items() if type_ == "enum"}
    assert {name for name, type_ in nested.items() if type_ in ("array", "map", "record")} == set(
        re.findall(r"`exclude=([\w,]+)`", TEXT)[0].split(",")
    )
    assert enums == {"direction", "disposition"} <= set(re.findall(r"`(\w+)`", TEXT.partition("**Flink SQL**")[2]))


def metrics_records(settings: Settings) -> list[Record]:
    """Two states of a DID: eight calls of which two were answered, then none."""
    fields = SCHEMAS["DidMetrics"]["fields"][2]["type"]["items"]["fields"]
    figures = {f["name"]: f.get("default", 0) for f in fields}
    hour = figures | {"name": "1h", "seconds": 3600, "attempts": 8, "answered": 2, "answer_seizure_ratio": 0.25}
    idle = figures | {"name": "1h", "seconds": 3600}
    topic = topic_name(settings.topic_prefix, "DidMetrics")
    values = [encode("DidMetrics", {"did": DID, "as_of": 1, "windows": [window]}) for window in (hour, idle)]
    return [Record(topic, DID.encode(), value, []) for value in values]


@pytest.mark.broker
def test_the_metrics_program_prints_what_is_committed(settings: Settings, tmp_path: Path) -> None:
    publish(settings, *metrics_records(settings))
    assert lines(settings, [*python(PYTHON[1], tmp_path), SCHEMA_FOLDER], 2, tmp_path) == [f"{DID} 8 25%", f"{DID} 0 -"]


@pytest.mark.broker
def test_the_command_lines_show_what_is_there(settings: Settings, tmp_path: Path) -> None:
    not_reached, hourly, keys, raw, decoded = (shell(settings, line) for line in SHELL)
    publish_flows(settings)
    raw_topic = raw_topic_name(settings.topic_prefix)
    publish(settings, *(Record(raw_topic, b"f", body, []) for body in (CALL % (7, 7, 7), WRAPPED)))

    assert said(settings, not_reached, tmp_path) == ([f"      5 {DID}"], "")

    once = metrics_records(settings)[:1]
    shown = lines(settings, hourly, 1, tmp_path, meanwhile=lambda: publish(settings, *once))  # it shows what is new
    assert set(shown) == {f'["{DID}",0.25]'}

    told, complaint = said(settings, keys, tmp_path)
    key, at, headers = told[0].split(" ")
    assert (len(told), key, complaint) == (5, DID, "")
    assert int(at) > 1_700_000_000_000
    assert "ce_type=phonon.flow.v1" in headers.split(",")

    assert said(settings, raw, tmp_path) == (["7", "wrapped"], "")

    _, complaint = said(settings, decoded, tmp_path)
    assert "lacks Avro" in complaint, "this kcat can decode: run the line against a registry"


def test_the_statements_name_topics_and_columns_that_there_are() -> None:
    """And no column of a topic differs from another, or from the key's name, by case alone: ksqlDB has no case."""
    made = re.findall(
        r"CREATE (?:SOURCE )?(?:STREAM|TABLE) (\w+) (?:\((\w+) .*?\)\s+)?WITH \(KAFKA_TOPIC = '([^']+)'", SQL
    )
    records = {topic_name("phonon", topic.record): topic.record for topic in TOPICS}
    columns = {}
    for name, key, topic in made:
        columns[name] = [field["name"] for field in SCHEMAS[records[topic]]["fields"]]
        everything = [*columns[name], *filter(None, [key])]
        assert len({column.lower() for column in everything}) == len(everything)
    assert list(columns) == ["flows", "did_metrics"]
    used = set(re.findall(r"EARLIEST_BY_OFFSET\((\w+)\)|GROUP BY (\w+)", SQL))
    assert {column for pair in used for column in pair if column} == {"did", "disposition", "event_id"}
    assert {"did", "disposition", "event_id"} <= set(columns["flows"])


def test_commands_in_the_documents_are_there() -> None:
    from app.cli import cli

    for name in ("consuming", "provider-setup", "upgrade", "runbook"):
        text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        assert set(re.findall(r"phonon-events (\w+)", text)) <= set(cli.commands), name
        assert not [line for line in text.splitlines() if len(line) > 130], name
