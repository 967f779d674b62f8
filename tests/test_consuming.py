"""The programs that docs/consuming.md offers, run as they stand there against a real Kafka."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from app.demo.kafka_jars import cache_directory
from app.pipeline import make_pipeline
from app.topics import create_topics
from schemas import SCHEMAS, encode
from schemas.settings import Settings, read_settings
from schemas.topics import topic_name
from tests.processes import clean_environment

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "consuming.md").read_text(encoding="utf-8")
XML, JAVA = (re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[0] for language in ("xml", "java"))
POM_HEAD = (
    "<project><modelVersion>4.0.0</modelVersion>"
    "<groupId>local</groupId><artifactId>flows</artifactId><version>1</version>"
)
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
DID = "+912243692987"
CALL = (
    b'{"phonon-uuid": "%d", "callDetails": [{"cdrId": "c%d", "calleeType": "VISITOR", "didNumber": "02243692987",'
    b'"startTime": "2026-01-05T10:00:00Z", "endTime": "2026-01-05T10:00:3%d.5Z", "hangupCause": "5"}]}'
)


@pytest.fixture
def settings(kafka: Any, prefix: str) -> Settings:
    environ = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PHONON_TOPIC_PREFIX": prefix}
    found = read_settings(environ | {"PHONON_TOPIC_PARTITIONS": "2"})
    create_topics(found)
    return found


def publish(settings: Settings, *records: tuple[str, bytes, bytes]) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka["bootstrap.servers"]})
    for topic, key, value in records:
        producer.produce(topic, value, key)
    assert producer.flush(10) == 0


def python(program: str, folder: Path) -> list[str]:
    """The command that runs a program."""
    (folder / "program.py").write_text(program, encoding="utf-8")
    return [sys.executable, "program.py"]


def java(folder: Path) -> list[str]:
    """The same for the Java program, compiled; skips where Java or its jars can't be had."""
    if not shutil.which("javac") or not shutil.which("mvn"):
        pytest.skip("no JDK or no Maven")
    pom = f"{POM_HEAD}<dependencies>{XML}</dependencies></project>"
    jars = cache_directory(os.environ) / f"consuming-{hashlib.sha256(pom.encode()).hexdigest()[:12]}"
    if not jars.is_dir():
        (folder / "pom.xml").write_text(pom)
        fetch = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'lib'}"]
        if subprocess.run(fetch, cwd=folder, capture_output=True, timeout=120, check=False).returncode:
            pytest.skip("Maven can't fetch Avro's jars")
        jars.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder / "lib", f"{jars}.{os.getpid()}")
        Path(f"{jars}.{os.getpid()}").rename(jars)
    (folder / "Flows.java").write_text(JAVA, encoding="utf-8")
    subprocess.run(["javac", "-cp", f"{jars}/*", "Flows.java"], cwd=folder, timeout=60, check=True)
    return ["java", "-Xmx128m", "-cp", f"{jars}/*:.", "Flows"]


def lines(settings: Settings, command: Sequence[str], count: int, folder: Path) -> list[str]:
    """The first lines that a program prints; then it is stopped, since it runs for ever."""
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka["bootstrap.servers"],
        "PHONON_TOPIC_PREFIX": settings.topic_prefix,
    }
    log = folder / "out"
    with log.open("wb") as out:
        running = subprocess.Popen(
            [*command, str(ROOT / "schemas")],
            cwd=folder,
            env=clean_environment(os.environ, environ),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 30
        while log.read_text().count("\n") < count and time.monotonic() < deadline and running.poll() is None:
            time.sleep(0.1)
        time.sleep(0.5)  # whether there are more
    finally:
        running.kill()
        running.wait()
    return log.read_text().splitlines()


def publish_flows(settings: Settings) -> None:
    """Three flows, two of them twice."""
    pipeline, topic = make_pipeline(settings), topic_name(settings.topic_prefix, "Flow")
    made = [pipeline(CALL % (n, n, n), received_at=1_767_607_300_000, traceparent="") for n in (1, 2, 1, 3, 2)]
    records = [record for each in made for record in each.records if record.topic == topic]
    publish(settings, *((r.topic, r.key or b"", r.value) for r in records))


@pytest.mark.broker
def test_the_python_program_prints_each_flow_once(settings: Settings, tmp_path: Path) -> None:
    publish_flows(settings)
    assert lines(settings, python(PYTHON[0], tmp_path), 3, tmp_path) == [
        f"{DID} BUSY 2026-01-05T10:00:3{n}.500000+00:00" for n in (1, 2, 3)
    ]


@pytest.mark.broker
def test_the_java_program_prints_each_flow_once(settings: Settings, tmp_path: Path) -> None:
    publish_flows(settings)
    assert lines(settings, java(tmp_path), 3, tmp_path) == [f"{DID} BUSY"] * 3


@pytest.mark.broker
def test_the_metrics_program_prints_what_is_committed(settings: Settings, tmp_path: Path) -> None:
    fields = SCHEMAS["DidMetrics"]["fields"][2]["type"]["items"]["fields"]
    figures = {f["name"]: None if isinstance(f["type"], list) else 0 for f in fields}
    hour = figures | {"name": "1h", "seconds": 3600, "attempts": 8, "answered": 2, "answer_seizure_ratio": 0.25}
    idle = figures | {"name": "1h", "seconds": 3600}
    topic = topic_name(settings.topic_prefix, "DidMetrics")
    values = [encode("DidMetrics", {"did": DID, "as_of": 1, "windows": [window]}) for window in (hour, idle)]
    publish(settings, *((topic, DID.encode(), value) for value in values))
    assert lines(settings, python(PYTHON[1], tmp_path), 2, tmp_path) == [f"{DID} 8 25%", f"{DID} 0 -"]


def test_commands_in_the_documents_are_there() -> None:
    from app.cli import cli

    for name in ("consuming", "provider-setup", "upgrade", "runbook"):
        text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        assert set(re.findall(r"phonon-events (\w+)", text)) <= set(cli.commands), name
        assert not [line for line in text.splitlines() if len(line) > 130], name
