"""The broker of demo and tests: which kind is chosen, how the jars come, what it can be ordered to do."""

import os
import signal
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from app.demo import ports
from app.demo.broker import Broker, Elsewhere, Say, first_of, given, mock
from app.demo.child import Child, ChildFailed
from app.demo.kafka_jars import KAFKA_VERSION, NoBroker, find_java, java_version, kafka_jars
from app.demo.kafka_node import KafkaNode, serves
from app.demo.ports import LOWEST, answers, free_port, is_free
from tests.conftest import without_broker
from tests.processes import Processes, clean_environment

# --- which kind


@contextmanager
def refusing(_environ: Mapping[str, str], _say: Say) -> Iterator[Broker]:
    raise NoBroker("not today")
    yield


@contextmanager
def willing(_environ: Mapping[str, str], _say: Say) -> Iterator[Broker]:
    yield Elsewhere("docker", "there:1")


def test_the_first_kind_that_does_not_refuse_is_taken() -> None:
    with ExitStack() as stack:
        environ = {"KAFKA_BOOTSTRAP_SERVERS": "here:9092"}
        assert first_of((given, willing), environ, print, stack) == Elsewhere("given", "here:9092")
        assert first_of((given, refusing, willing), {}, print, stack) == Elsewhere("docker", "there:1")


def test_without_any_kind_all_reasons_are_given() -> None:
    with ExitStack() as stack, pytest.raises(NoBroker, match="KAFKA_BOOTSTRAP_SERVERS is not set; not today"):
        first_of((given, refusing), {}, print, stack)


def test_the_mock_says_why_it_is_there_and_what_it_cannot_do() -> None:
    said: list[str] = []
    with ExitStack() as stack:
        found = first_of((refusing, mock), {}, said.append, stack)
        assert found.kind == "mock"
        assert serves(found.bootstrap_servers)
    assert "not today" in said[0]
    assert "5 MiB" in said[1]


def test_a_missing_broker_skips_and_where_required_fails() -> None:
    with pytest.raises(pytest.skip.Exception, match="no java"):
        without_broker("no java", {})
    with pytest.raises(pytest.fail.Exception, match="no java"):
        without_broker("no java", {"BROKER_TESTS": "required"})


# --- the jars

SLOW_MAVEN = """#!/bin/sh
echo run >> "$RUNS"
sleep 0.5
for word in "$@"; do case "$word" in -DoutputDirectory=*) lib="${word#*=}";; esac; done
mkdir "$lib" && touch "$lib/kafka_2.13.jar"
"""
FAILING_MAVEN = """#!/bin/sh
echo "[ERROR] Could not transfer artifact"
echo "[ERROR] more"
exit 1
"""
FETCH = "import os; from app.demo.kafka_jars import kafka_jars; print(kafka_jars(os.environ, print))"


def with_maven(directory: Path, script: str) -> dict[str, str]:
    """Return an environment whose mvn is this script and whose cache is empty."""
    maven = directory / "bin" / "mvn"
    maven.parent.mkdir(parents=True)
    maven.write_text(script)
    maven.chmod(maven.stat().st_mode | stat.S_IXUSR)
    path = f"{maven.parent}:{os.environ['PATH']}"
    return {"PATH": path, "XDG_CACHE_HOME": str(directory / "cache"), "RUNS": str(directory / "runs")}


def test_two_processes_fetch_the_jars_once(tmp_path: Path, process: Processes) -> None:
    environ = with_maven(tmp_path, SLOW_MAVEN)
    python = [sys.executable, "-c", FETCH]
    root = {"PYTHONPATH": str(Path(__file__).parent.parent)}
    pair = [process.command(python, settings=environ | root) for _ in range(2)]
    assert [child.wait(10) for child in pair] == [0, 0]
    assert (tmp_path / "runs").read_text() == "run\n"
    assert sorted(one.name for one in (tmp_path / "cache/phonon-events").iterdir()) == [
        f"kafka-{KAFKA_VERSION}",
        "lock",
    ]


def test_a_failed_fetch_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    environ = with_maven(tmp_path, FAILING_MAVEN)
    with pytest.raises(NoBroker) as refusal:
        kafka_jars(environ, print)
    assert str(refusal.value) == f"Maven could not bring Kafka {KAFKA_VERSION}: [ERROR] Could not transfer artifact"
    assert [one.name for one in (tmp_path / "cache/phonon-events").iterdir()] == ["lock"]


def test_without_a_place_for_the_jars_it_says_so(tmp_path: Path) -> None:
    """The demo ended there, where the mock could still be had."""
    environ = with_maven(tmp_path, SLOW_MAVEN)
    (tmp_path / "cache").touch()
    with pytest.raises(NoBroker, match=r"no room for Kafka's jars in .*/cache/phonon-events \(Not a directory\)"):
        kafka_jars(environ, print)


def test_another_version_can_be_asked_for(tmp_path: Path) -> None:
    environ = with_maven(tmp_path, FAILING_MAVEN) | {"BROKER_VERSION": "3.3.2"}
    with pytest.raises(NoBroker, match=r"^Maven could not bring Kafka 3\.3\.2: "):
        kafka_jars(environ, print)
    environ = with_maven(tmp_path / "whole", SLOW_MAVEN) | {"BROKER_VERSION": "3.3.2"}
    assert kafka_jars(environ, print).name == "kafka-3.3.2"


def test_without_maven_or_java_it_says_so(tmp_path: Path) -> None:
    nothing = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    with pytest.raises(NoBroker, match="no mvn found"):
        kafka_jars(nothing, print)
    with pytest.raises(NoBroker, match="no java found"):
        find_java(nothing)


@pytest.mark.parametrize(
    ("shown", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("", 0),
    ],
)
def test_java_versions(shown: str, major: int) -> None:
    assert java_version(shown) == major


@pytest.mark.parametrize(
    ("does", "said"), [("exit 3", "ended with code 3"), ("exec sleep 60", r"was not ready in 0\.5 s")]
)
def test_a_log_directory_that_can_not_be_made_is_said(
    does: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.demo.kafka_node.UP_WITHIN_SECONDS", 0.5)
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\n{does}\n")
    java.chmod(0o755)
    with pytest.raises(ChildFailed, match=f"^Kafka's storage tool {said}"):
        KafkaNode(str(java), tmp_path, tmp_path, port=free_port()).format()


# --- children


def test_a_child_that_ends_too_early_is_named_with_its_last_lines(tmp_path: Path) -> None:
    child = Child("the oracle", ["sh", "-c", "echo no port; exit 3"], log=tmp_path / "log")
    with pytest.raises(ChildFailed, match=r"(?s)the oracle ended with code 3.*no port"):
        child.wait_until(lambda: False, within_seconds=5)


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    child = Child("deaf", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"], log=tmp_path / "log")
    child.wait_until(lambda: "up" in child.output, within_seconds=5)
    assert child.stop(grace_seconds=0.3) == -signal.SIGKILL


def test_a_child_dies_with_its_parent(tmp_path: Path, process: Processes) -> None:
    program = (
        "from pathlib import Path; from app.demo.child import Child; import time;"
        f"print('child', Child('sleeper', ['sleep', '60'], log=Path({str(tmp_path / 'log')!r})).pid); time.sleep(60)"
    )
    parent = process.command(
        [sys.executable, "-c", program], settings={"PYTHONPATH": str(Path(__file__).parent.parent)}
    )
    parent.wait_until(lambda: "child" in parent.output, within_seconds=10)
    pid = int(parent.output.split()[1])
    os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_with_a_traceback_fails_its_test(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.command([sys.executable, "-c", "1/0"]).wait(10)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        processes.stop_all()


def test_processes_see_only_the_settings_given() -> None:
    environ = {"PATH": "/bin", "PHONON_PORT": "1", "KAFKA_X": "2", "SCHEMA_REGISTRY_URL": "3"}
    assert clean_environment(environ, {"PHONON_HOST": "h"}) == {
        "PATH": "/bin",
        "PYTHONUNBUFFERED": "1",
        "PHONON_HOST": "h",
    }


def test_free_ports_are_below_the_range_of_outgoing_connections() -> None:
    local_range = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest_outgoing = int(local_range.read_text().split()[0]) if local_range.exists() else 32_768
    port = free_port()
    assert LOWEST <= port < lowest_outgoing
    assert is_free(port)
    assert not answers(f"http://127.0.0.1:{port}/")


def test_a_preferred_port_is_one_process_s_until_it_ends(process: Processes) -> None:
    """Two demos that are started at once: neither listens yet when the other asks."""
    port = free_port()
    code = f"import time; from app.demo.ports import free_port; print(free_port({port}), flush=True); time.sleep(60)"

    def given() -> tuple[Child, str]:
        child = process.command([sys.executable, "-c", code])
        child.wait_until(lambda: child.output.endswith("\n"), within_seconds=20)
        return child, child.output

    first, other = given(), given()
    assert (first[1] == f"{port}\n") is (other[1] != f"{port}\n") is True
    first[0].kill()
    assert given()[1] == f"{port}\n"


def test_no_port_is_given_twice_though_nobody_listens_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    lowest = next(port for port in range(15_000, 20_000) if all(is_free(port + n) for n in range(3)))
    monkeypatch.setattr(ports, "_given", set())
    monkeypatch.setattr(ports, "LOWEST", lowest)
    monkeypatch.setattr(ports, "HIGHEST", lowest + 3)
    assert sorted(free_port() for _ in range(3)) == [lowest, lowest + 1, lowest + 2]
    with pytest.raises(OSError, match="no free port between"):
        free_port()


# --- a broker that can be ordered to fail


@pytest.mark.broker
def test_a_node_hangs_crashes_and_comes_back_with_its_data(own_kafka: KafkaNode) -> None:
    servers = own_kafka.bootstrap_servers
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(10)
    producer = Producer({"bootstrap.servers": servers, "acks": "all"})
    producer.produce("kept", b"before the crash")
    assert producer.flush(10) == 0

    own_kafka.pause()
    assert not serves(servers)
    own_kafka.resume()
    assert serves(servers, within_seconds=10)

    own_kafka.kill()
    assert not serves(servers)
    own_kafka.start()
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader"})
    consumer.assign([TopicPartition("kept", 0, 0)])
    message = consumer.poll(20)
    consumer.close()
    assert message is not None
    assert message.value() == b"before the crash"


@pytest.mark.broker
def test_the_session_broker_answers(kafka: Broker) -> None:
    assert kafka.kind != "mock"
    assert serves(kafka.bootstrap_servers, within_seconds=10)
