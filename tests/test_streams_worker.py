"""One worker as a process on a real Kafka: what comes out, what it says of itself, how it starts and ends."""

import json
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)

from app.demo.broker import Broker
from app.demo.child import Child
from app.demo.kafka_node import KafkaNode
from app.demo.ports import LOOPBACK, free_port
from schemas import encode
from schemas.topics import changelog_name, topic_name
from tests.flow_oracle import MINUTE, Record, flow
from tests.flow_traffic import PARTITIONS, FlowTopic, Workers
from tests.patience import eventually
from tests.processes import Processes

pytestmark = pytest.mark.broker

BAD = (b"foreign bytes", b"", b"\xc3\x01" + bytes(8), encode("Rejected", {
    "flow_id": "f", "section": "s", "index": 1, "reason": "r", "payload": "p", "received_at": 0,
}))  # fmt: skip


@pytest.fixture
def topic(kafka: Broker, prefix: str) -> FlowTopic:
    topic = FlowTopic(kafka.bootstrap_servers, prefix)
    topic.create()
    return topic


@pytest.fixture
def workers(topic: FlowTopic, process: Processes, tmp_path: Path) -> Workers:
    return Workers(process, topic, tmp_path)


def grow(admin: AdminClient, *names: str) -> None:
    """Give topics two partitions more."""
    for future in admin.create_partitions([NewPartitions(name, PARTITIONS + 2) for name in names]).values():
        future.result()


def refused(workers: Workers) -> str:
    """What a worker says that does not start."""
    child = workers.start(0)
    eventually(lambda: child.returncode == 1, 30)
    return child.output


def count(topic: FlowTopic, workers: Workers) -> None:
    """A few flows, counted."""
    topic.send(topic.flows(200))
    topic.flush()
    workers.wait_idle()
    assert topic.wrong() == []


def stopped(child: Child) -> int | None:
    """SIGTERM, and the exit code within a few seconds."""
    child.signal(signal.SIGTERM)
    eventually(lambda: child.returncode is not None, 8)
    return child.returncode


def test_counts_rejects_restarts_and_forgets(topic: FlowTopic, workers: Workers) -> None:
    """A backlog with bad records in it, a restart, more, and DIDs that went quiet: exact at each rest."""
    child = workers.start(0)
    topic.send(topic.flows(1000))
    for value in BAD:
        topic.put(b"+912243692987", value)
    topic.put(b"+912243692987", None)
    topic.send(topic.flows(1000))
    topic.flush()
    eventually(lambda: workers.figure(0, "phonon_flows_total") >= len({r["event_id"] for r in topic.sent}), 30)
    workers.wait_idle()
    assert topic.wrong() == []
    rejected = topic.read("Rejected")
    assert workers.figure(0, "phonon_records_rejected_total") == len(rejected) == len(BAD) + 1
    assert {r["section"] for _, r in rejected} == {topic_name(topic.prefix, "Flow")}
    assert len({dict(message.headers())["ce_id"] for message, _ in rejected}) == len(rejected)
    assert all("partition" in r["reason"] and "offset" in r["reason"] for _, r in rejected)
    assert stopped(child) == 0

    workers.start(0)
    topic.send(topic.flows(500))
    topic.flush()
    workers.wait_ready(0)
    first_metrics_come_soon_and_lie_on_the_flows_partitions(topic)
    workers.wait_idle()
    assert topic.wrong() == []
    assert workers.figure(0, "phonon_flows_total") <= 800
    message, _ = topic.read("DidMetrics")[-1]
    assert dict(message.headers())["ce_type"] == b"phonon.did-metrics.v1"


def test_a_minute_of_calls_with_thousands_of_legs_is_counted(topic: FlowTopic, workers: Workers) -> None:
    """In one record of the changelog their lines would be more than Kafka takes, and the partition count no more."""
    workers.start(0)
    now, records = time.time_ns() // 1_000_000, list[Record]()
    while len(records) < 40:
        record = flow(topic.rng, "+912243600001", now)
        records += [record | {"legs": record["legs"] * 3000}] if len(record["legs"]) == 1 else []
    topic.send(records)
    topic.flush()
    workers.wait_ready(0)
    workers.wait_idle()
    assert topic.wrong() == []
    assert workers.figure(0, "phonon_partitions_lost_total") == 0


def test_a_state_that_kafka_deletes_is_told_before_and_after_it_is_gone(topic: FlowTopic, workers: Workers) -> None:
    """Somebody has set `cleanup.policy` for all topics at once: nothing else says so, and calls would be missing."""
    admin, state = AdminClient({"bootstrap.servers": topic.servers}), changelog_name(topic.prefix)
    child = workers.start(0)
    workers.wait_ready(0)
    count(topic, workers)
    assert workers.figure(0, "phonon_state_expires") == 0
    set_policy(admin, state, "compact,delete")
    child.stop()
    child = workers.start(0)
    workers.wait_ready(0)
    eventually(lambda: workers.figure(0, "phonon_state_expires") == 1)
    assert f"{state} has cleanup.policy compact,delete: Kafka deletes the state" in child.output
    assert "a part of the state" not in child.output
    for future in admin.delete_records([TopicPartition(state, 0, 1)]).values():
        future.result()
    set_policy(admin, state, "compact")
    child.stop()
    child = workers.start(0)
    workers.wait_ready(0)
    assert f"partition 0: {state} begins at offset 1: Kafka has deleted a part of the state" in child.output
    assert child.output.count("a part of the state") == 1
    assert workers.figure(0, "phonon_state_expires") == 0


def set_policy(admin: AdminClient, name: str, policy: str) -> None:
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()


def test_no_debug_line_holds_what_records_do(topic: FlowTopic, process: Processes, tmp_path: Path) -> None:
    """The lines that would show a password too: aiokafka tells each request and answer, records and SASL's as well."""
    workers = Workers(process, topic, tmp_path, PHONON_LOG_LEVEL="debug")
    child = workers.start(0)
    workers.wait_ready(0)
    count(topic, workers)
    assert stopped(child) == 0
    assert "aiokafka" in child.output
    assert not [record["did"] for record in topic.sent if record["did"] in child.output]


def first_metrics_come_soon_and_lie_on_the_flows_partitions(topic: FlowTopic) -> None:
    """p50 within 0.7 s of the record, by Kafka's timestamps; where a Java client would put them by key."""
    before, topic.dids = {record["did"].encode() for record in topic.sent}, 100_000
    for _ in range(30):
        topic.send(topic.flows(10))
        topic.flush()
        time.sleep(0.1)
    time.sleep(2)
    new = {record["did"].encode() for record in topic.sent} - before
    sent, first = (
        {message.key(): message for message in reversed(topic.messages(record)) if message.key() in new}
        for record in ("Flow", "DidMetrics")
    )
    assert {key: message.partition() for key, message in sent.items()} == {k: m.partition() for k, m in first.items()}
    assert len({message.partition() for message in first.values()}) == PARTITIONS
    delays = sorted(first[key].timestamp()[1] - sent[key].timestamp()[1] for key in sent)
    assert delays[len(delays) // 2] <= 700
    assert delays[len(delays) * 95 // 100] <= 1500


def test_an_end_of_the_log_that_holds_no_records_is_passed(topic: FlowTopic, workers: Workers) -> None:
    """Another program writes flows in a transaction, whose marker is the log's last; then the log is cut off unread."""
    child = workers.start(0)
    workers.wait_ready(0)
    topic.send_in_transaction(topic.flows(200))
    workers.wait_idle()
    assert topic.wrong() == []
    assert workers.figure(0, "phonon_records_expired_total") == 0
    child.signal(signal.SIGSTOP)
    lost = topic.flows(100)
    for record in lost:
        topic.put(record["did"].encode(), encode("Flow", record))
    topic.flush()
    topic.cut_off()
    child.signal(signal.SIGCONT)
    eventually(lambda: workers.figure(0, "phonon_records_expired_total") >= len(lost), 40)  # ready, until it has looked
    workers.wait_idle()
    assert workers.figure(0, "phonon_records_expired_total") == len(lost)
    count(topic, workers)


def test_a_topic_that_goes_or_grows_while_a_worker_runs_is_named(
    kafka: Broker, topic: FlowTopic, workers: Workers
) -> None:
    """The state's own topic comes back by itself, and all is counted again; the others are named, and waited for."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    changelog, metrics = f"{topic.prefix}-metrics-buckets-changelog", topic_name(topic.prefix, "DidMetrics")
    child = workers.start(0)
    workers.wait_ready(0)
    count(topic, workers)
    for future in admin.delete_topics([changelog, metrics]).values():
        future.result()
    topic.send(topic.flows(100))
    topic.flush()
    eventually(lambda: f"topic {metrics} is missing" in workers.page(0, "/readyz")[1], 40)
    topic.create(metrics)
    workers.wait_idle(60)
    assert topic.wrong() == []
    assert stopped(child) == 0
    source = topic_name(topic.prefix, "Flow")
    counts = f"has {PARTITIONS} partitions, {source} has {PARTITIONS + 2}"
    grow(admin, source, metrics)
    assert f"{changelog} {counts}: they must agree; add none" in refused(workers)
    grow(admin, changelog, topic_name(topic.prefix, "Rejected"))
    assert f"{topic_name(topic.prefix, 'DidAlert')} {counts}: give it as many" in refused(workers)
    grow(admin, topic_name(topic.prefix, "DidAlert"))
    astray = workers.start(0)
    eventually(lambda: "their figures are wrong" in astray.output, 30)


#: `python -m streams`, whose next heartbeat fails as nobody foresaw once a file is there.
HEARTBEAT_FAILS = """
import pathlib, runpy, sys
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import UnknownError
beat, file = GroupCoordinator._do_heartbeat, pathlib.Path(sys.argv[1])

async def failing(self):
    if file.exists():
        file.unlink()
        raise UnknownError("odd")
    return await beat(self)

GroupCoordinator._do_heartbeat = failing
runpy.run_module("streams", run_name="__main__")
"""


def test_after_an_error_in_its_group_a_worker_joins_it_again(
    topic: FlowTopic, workers: Workers, tmp_path: Path
) -> None:
    """Else it ends; or counts on, heartbeats no more, and takes partitions back from whoever was given them."""
    fails = tmp_path / "fails"
    child = workers.start(0, sys.executable, "-c", HEARTBEAT_FAILS, str(fails))
    workers.wait_ready(0)
    count(topic, workers)
    fails.touch()
    eventually(lambda: child.output.count("partitions owned: 0, 1, 2, 3") == 2, 20)
    workers.start(1)
    eventually(lambda: [workers.figure(number, "phonon_partitions") for number in (0, 1)] == [2, 2], 20)
    workers.wait_ready(0, 1)
    count(topic, workers)
    assert child.output.count("it joins again") == 1


#: `python -m streams`, for which partition 1 of the flow topic has no leader once a file is there.
LEADERLESS = """
import asyncio, pathlib, runpy, sys
from aiokafka import AIOKafkaConsumer
ends, file = AIOKafkaConsumer.end_offsets, pathlib.Path(sys.argv[1])

async def end_offsets(self, places):
    if file.exists() and any(place.topic.endswith("flow.v1") and place.partition == 1 for place in places):
        await asyncio.sleep(30)
    return await ends(self, places)

AIOKafkaConsumer.end_offsets = end_offsets
runpy.run_module("streams", run_name="__main__")
"""


def test_a_partition_without_a_leader_holds_up_no_other_and_not_the_end(
    topic: FlowTopic, workers: Workers, tmp_path: Path
) -> None:
    leaderless = tmp_path / "leaderless"
    child = workers.start(0, sys.executable, "-c", LEADERLESS, str(leaderless))
    workers.wait_ready(0)
    leaderless.touch()
    for _ in range(4):
        time.sleep(1)
        topic.send(topic.flows(200))
        topic.flush()
        eventually(lambda: topic.wrong() == [], 20)
    why = "partition 1: Kafka does not say how far its log reaches"
    eventually(lambda: why in workers.page(0, "/readyz")[1], 30)
    eventually(lambda: f"not ready: {why}" in child.output, 15)
    leaderless.unlink()
    workers.wait_ready(0)
    eventually(lambda: "ready again" in child.output, 5)
    leaderless.touch()
    time.sleep(2)
    assert stopped(child) == 0


def test_fausts_own_command_names_missing_topics_and_a_did_is_written_a_last_time(
    kafka: Broker, prefix: str, process: Processes, tmp_path: Path
) -> None:
    """A replayed past moves on with the clock of its newest flow: the DID of the day before is written with zeros."""
    topic = FlowTopic(kafka.bootstrap_servers, prefix)
    workers = Workers(process, topic, tmp_path / "deep")
    faust = str(Path(sys.executable).with_name("faust"))
    child = workers.start(0, faust, "-A", "streams.app", "worker", "-l", "info")
    eventually(lambda: f"topic {prefix}.flow.v1 is missing" in child.output, 15)
    topic.create()
    now = time.time_ns() // 1_000_000
    quiet = flow(topic.rng, "+912243600001", now - 24 * 60 * MINUTE)
    # the same DID's partition gets a flow that carries the clock on: the same key on the record, another DID in it
    later = flow(topic.rng, "+912243600002", now)
    topic.put(b"key", encode("Flow", quiet))
    topic.flush()
    eventually(lambda: workers.figure(0, "phonon_did_metrics_written_total") == 1, 30)
    topic.put(b"key", encode("Flow", later))
    topic.flush()
    eventually(lambda: workers.figure(0, "phonon_flows_total") == 2, 10)
    workers.wait_idle()
    latest = topic.latest()
    assert [window["flows"] for window in latest["+912243600001"]["windows"]] == [0, 0, 0]
    assert [window["flows"] for window in latest["+912243600002"]["windows"]] == [1, 1, 1]
    assert workers.figure(0, "phonon_dids") == 1
    assert stopped(child) == 0


def test_a_missing_broker_is_waited_for(process: Processes, tmp_path: Path) -> None:
    """Alive, not ready and why, a line now and then, no traceback, and SIGTERM ends it."""
    topic = FlowTopic(f"127.0.0.1:{free_port()}", "nowhere")
    workers = Workers(process, topic, tmp_path, PHONON_LOG_FORMAT="json")
    child = workers.start(0)
    eventually(lambda: workers.page(0, "/healthz")[0] == 200, 15)
    assert workers.page(0, "/readyz")[0] == 503
    eventually(lambda: "no answer from Kafka" in json.loads(workers.page(0, "/readyz")[1])["reason"], 15)
    eventually(lambda: "no answer from Kafka" in child.output, 15)
    line = next(line for line in child.output.splitlines() if "no answer" in line)
    assert json.loads(line)["level"] == "WARNING"
    assert stopped(child) == 0


GONE_AGAIN = """
import aiokafka, streams.app
from streams.__main__ import main

async def well(*_, **__): pass

streams.app.wait_for = well
if {producer}: aiokafka.AIOKafkaProducer.start = well
main()
"""


@pytest.mark.parametrize("producer", [False, True], ids=["at Faust's producer", "at its consumer"])
def test_a_broker_that_is_gone_again_is_one_line(producer: bool, process: Processes, tmp_path: Path) -> None:
    """It answered when it was waited for: Faust ended with exit code 1 and nothing else, or with a traceback."""
    settings = {"KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{free_port()}", "PHONON_STATE_DIR": str(tmp_path)}
    settings["PHONON_MANAGEMENT_PORT"] = str(free_port())
    child = process.command([sys.executable, "-c", GONE_AGAIN.format(producer=producer)], settings=settings)
    assert child.wait(20) == 1
    assert child.output.startswith("can't start: KafkaConnectionError: Unable to bootstrap")
    assert child.output.count("\n") == 1


CRASHES = """
import streams.app, streams.partitions
from streams.__main__ import main

async def fails(*_): raise ValueError("a bug of ours")

streams.{where} = fails
main()
"""


@pytest.mark.broker
@pytest.mark.parametrize(
    "where",
    ["app.MetricsApp.ask_for_policy", "chunks.ChunkConsumer._wait_next_records", "partitions.Partitions.count"],
    ids=["in a task", "in fetching", "in the agent"],
)
def test_why_it_crashed_is_said(where: str, topic: FlowTopic, process: Processes, tmp_path: Path) -> None:
    """Faust says that it did, and where its own lines are not shown nobody said more."""
    settings = {"PHONON_STATE_DIR": str(tmp_path), "PHONON_MANAGEMENT_PORT": str(free_port())}
    settings |= {"KAFKA_BOOTSTRAP_SERVERS": topic.servers, "PHONON_TOPIC_PREFIX": topic.prefix}
    topic.send(topic.flows(1))
    topic.flush()
    command = [sys.executable, "-c", CRASHES.format(where=where)]
    child = process.command(command, settings=settings, traceback_expected=True)
    assert child.wait(30) == 1
    assert child.output.count("CRITICAL streams.app: crashed\nTraceback (most recent call last):\n") == 1
    assert child.output.count("ValueError: a bug of ours\n") == 1


def test_an_interrupt_while_it_starts_ends_it_without_a_word(process: Processes) -> None:
    """It imports for a second and more: a traceback showed where it was."""
    worker = process("metrics", settings={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"})
    eventually(lambda: b"aiohttp" in Path(f"/proc/{worker.pid}/maps").read_bytes())
    worker.signal(signal.SIGINT)
    assert worker.wait(10) in (-signal.SIGINT, 0)  # 0 where Faust heeds it already


def test_a_worker_ends_though_kafka_is_away(own_kafka: KafkaNode, process: Processes, tmp_path: Path) -> None:
    """aiokafka ends its consumer in being cancelled, where a fetch has just failed: the process then never ended."""
    topic = FlowTopic(own_kafka.bootstrap_servers, "away")
    topic.create()
    workers = Workers(process, topic, tmp_path)
    child = workers.start(0)
    workers.wait_ready(0)
    own_kafka.kill()
    time.sleep(2)
    child.signal(signal.SIGTERM)
    eventually(lambda: child.returncode == 0, 20)


def test_a_worker_finds_a_broker_that_has_moved(own_kafka: KafkaNode, process: Processes, tmp_path: Path) -> None:
    """The servers in its settings know where, and none of those that it was told of before."""
    old, new = own_kafka.bootstrap_servers, f"{LOOPBACK}:{free_port()}"
    topic = FlowTopic(f"{old},{new}", "moved")
    topic.create()
    workers = Workers(process, topic, tmp_path)
    workers.start(0)
    workers.wait_ready(0)
    own_kafka.stop()
    own_kafka._properties.write_text(own_kafka._properties.read_text().replace(old, new))
    own_kafka.bootstrap_servers = new
    own_kafka.start()
    topic.send(topic.flows(200))
    topic.flush()
    eventually(lambda: topic.wrong() == [], 60)
    workers.wait_idle()


def test_a_taken_management_port_is_one_line(process: Processes, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        settings = {"PHONON_MANAGEMENT_PORT": port, "PHONON_STATE_DIR": str(tmp_path)}
        child = process.command([sys.executable, "-m", "streams"], settings=settings)
        eventually(lambda: child.returncode is not None, 15)
    assert child.returncode == 1
    assert child.output.count("\n") == 1
    assert f"PHONON_MANAGEMENT_PORT: cannot listen on 127.0.0.1:{port}" in child.output


@pytest.mark.parametrize(
    "command",
    [["-m", "streams"], ["-m", "faust", "-A", "streams.app", "worker", "-l", "info"]],
    ids=["python -m streams", "faust"],
)
def test_wrong_settings_are_one_line_and_exit_code_2(command: list[str], process: Processes) -> None:
    child = process.command([sys.executable, *command], settings={"PHONON_WINDOWS": "5x"})
    eventually(lambda: child.returncode is not None, 15)
    assert child.returncode == 2
    assert child.output.startswith("settings: PHONON_WINDOWS is '5x'")
    assert child.output.count("\n") == 1
