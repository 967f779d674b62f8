"""What README and docs show is run as it stands there, on a real Kafka: our commands, curl, and Kafka's own tools.

The lines for kcat and jq, and what is piped into them, are those of docs/consuming.md: test_consuming.py runs them.
"""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # not exported by its stubs

from app.demo.broker import Broker
from app.demo.kafka_jars import KAFKA_VERSION, NoBroker, find_java, kafka_jars
from app.demo.kafka_node import JVM
from app.demo.ports import free_port
from app.topics import check_topics, create_topics
from schemas.settings import read_settings
from schemas.topics import changelog_name, raw_topic_name
from tests import maven
from tests.conftest import without_broker
from tests.processes import SCRIPT, Processes, clean_environment

ROOT = Path(__file__).parent.parent
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Commands that run until they are stopped: said by their name, or by what is left out.
ENDLESS = re.compile(r"serve|metrics|dashboard|tail(?!.*--no-follow)")

#: What the scripts of Kafka's distribution run.
TOOLS = {
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-transactions.sh": "org.apache.kafka.tools.TransactionsCommand",
}
#: The jar that has them, beside the broker's.
TOOLS_JAR = f"""<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId>
<version>{KAFKA_VERSION}</version></dependency>"""

#: What is answered there, by the last part of the address.
ANSWERS = {"readyz": '"ready": true', "healthz": '"alive": true', "phonon": '"stored":"kafka"'}


def blocks() -> list[str]:
    """The lines of all shell blocks, without comments; one that goes on after a backslash is one."""
    found = [block for file in FILES for block in re.findall(r"```sh\n(.*?)```", file.read_text(), re.DOTALL)]
    lines = [line.strip() for block in found for line in block.replace("\\\n", "").splitlines()]
    return [re.split(r" +# ", line)[0] for line in lines if line]


def shown() -> list[str]:
    """Our commands among them, without what they are piped into."""
    ours = [line.split(" | ")[0] for line in blocks() if re.match(r"(\.venv/bin/)?phonon-events ", line)]
    return list(dict.fromkeys(ours))


def asked() -> list[str]:
    """The curl commands, in blocks and in sentences."""
    inline = [command for file in FILES for command in re.findall(r"`(curl [^`]+)`", file.read_text())]
    return list(dict.fromkeys([*(line for line in blocks() if line.startswith("curl ")), *inline]))


def of_kafka() -> list[str]:
    """The lines for Kafka's own tools, which stand in sentences."""
    found = [line for file in FILES for line in re.findall(r"`(kafka-[a-z-]+\.sh [^`]+)`", file.read_text())]
    return list(dict.fromkeys(" ".join(line.split()) for line in found))


def test_every_line_is_of_a_program_that_is_run() -> None:
    lines = [line for line in blocks() if not re.match(r"(KAFKA|PHONON)_\w+=", line)]
    programs = {line.split(" ")[0].removeprefix(".venv/bin/") for line in lines}
    assert programs == {"make", "phonon-events", "curl", "kcat"}


def test_there_are_commands_to_run() -> None:
    assert len(shown()) > 8
    assert len(asked()) == 4


@pytest.mark.broker
def test_every_command_that_is_shown_works(process: Processes, kafka: Broker, prefix: str, tmp_path: Path) -> None:
    webhook, management = free_port(), free_port()
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "PHONON_TOPIC_PREFIX": prefix,
        "PHONON_PORT": str(webhook),
        "PHONON_MANAGEMENT_PORT": str(management),
        "PHONON_SPOOL_DIR": str(tmp_path / "spool"),
        "PHONON_RAW_TOPIC": "true",
        "PHONON_BASIC_AUTH": "phonon:secret",
    }
    create_topics(read_settings(settings))
    process("serve", settings=settings, ready=f"http://127.0.0.1:{management}/readyz")
    for command in shown():
        words = shlex.split(command)[1:]
        own = settings if words[0] != "serve" else settings | {"PHONON_PORT": "0", "PHONON_MANAGEMENT_PORT": "0"}
        child = subprocess.Popen(
            [SCRIPT, *words],
            cwd=ROOT,
            env=clean_environment(os.environ, own),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, said = child.communicate(timeout=3 if ENDLESS.search(command) else 30)
        except subprocess.TimeoutExpired:
            assert ENDLESS.search(command), f"{command} did not end"
            child.terminate()
            _, said = child.communicate(timeout=15)
        else:
            assert not ENDLESS.search(command), f"{command} ended: {said.decode()}"
            assert child.returncode == 0, f"{command}: {said.decode()}"
        assert b"Traceback" not in said, command
    if not shutil.which("curl"):
        without_broker("no curl", os.environ)
    for command in asked():
        here = command.replace("https://hooks.example.com", f"http://127.0.0.1:{webhook}").replace(
            "<password>", "secret"
        )
        words = shlex.split(re.sub(r"(HOST|localhost):9100", f"127.0.0.1:{management}", here))
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
        assert ANSWERS[command.rpartition("/")[2]] in done.stdout, command


@pytest.mark.broker
def test_kafkas_own_tools_do_what_is_shown(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    """With the address added, as the runbook says; this Kafka has no ACLs, and is asked for them all the same."""
    usual = {name: value for name, value in os.environ.items() if name != "BROKER_VERSION"}
    try:
        java = [find_java(usual), *JVM, "-cp", f"{kafka_jars(usual, print)}/*"]
    except NoBroker as reason:
        without_broker(reason, os.environ)
    java[-1] += f":{maven.jars('kafka-tools', TOOLS_JAR, tmp_path, '-DexcludeTransitive=true')}/*"
    environ = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PHONON_TOPIC_PREFIX": prefix}
    settings = read_settings(environ | {"PHONON_TOPIC_PARTITIONS": "2", "PHONON_RAW_TOPIC": "true"})
    create_topics(settings)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic(changelog_name(prefix), 2, 1)])[changelog_name(prefix)].result()
    (tmp_path / "admin.properties").touch()
    assert {line.split(" ")[0] for line in of_kafka()} == TOOLS.keys()
    for line in of_kafka():
        tool, *words = shlex.split(
            re.sub(r"kafka-1:909\d", kafka.bootstrap_servers, line.replace(" phonon", f" {prefix}"))
        )
        if "--bootstrap-server" not in words:
            words += ["--bootstrap-server", kafka.bootstrap_servers]
        done = subprocess.run(
            [*java, TOOLS[tool], *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        said = done.stdout + done.stderr
        assert "No Authorizer is configured" in said if tool == "kafka-acls.sh" else done.returncode == 0, (line, said)
    assert changelog_name(prefix) not in admin.list_topics(timeout=10).topics
    # more partitions are a difference, what is kept longer is none
    assert [(d.topic, d.what, d.found) for d in check_topics(settings)] == [
        (raw_topic_name(prefix), "partitions", "16")
    ]
