"""Kafka as production has it: SCRAM over TLS for every program of ours, and three replicas of which one is killed.

The secured node is real, its certificates are openssl's. What Kafka refuses must be one line that names the setting, in
the log and in readiness, never a traceback, and never a secret.
"""

import asyncio
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public, but not exported by its stubs
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from app.demo.child import Child
from app.demo.ports import LOOPBACK, free_port
from app.segment import Row
from app.spool import Spool, prepare
from app.topics import check_topics, create_topics
from schemas.refusals import NOT_PERMITTED, UNTRUSTED_CERTIFICATE, WRONG_CREDENTIALS
from schemas.settings import read_settings
from schemas.topics import TOPICS, topic_name
from streams import changelog, connection
from streams.changelog import Place
from tests import patience, recount
from tests.clusters import PASSWORD, PROGRAMS, USER, Node, Secured, managed, secured, three_nodes
from tests.conftest import opened
from tests.oracle import Oracle, read_all
from tests.processes import Processes, ask, run_command

pytestmark = pytest.mark.broker

SAMPLE = (Path(__file__).parent / "deliveries" / "sample.json").read_bytes()
PATIENCE_SECONDS = 40.0
eventually = partial(patience.eventually, within_seconds=PATIENCE_SECONDS)
until = partial(patience.until, within_seconds=PATIENCE_SECONDS)
WRONG = "not-the-pass"
RATE = 40


@pytest.fixture(scope="module")
def secure() -> Iterator[Secured]:
    """A secured node for all tests here."""
    with ExitStack() as stack:
        yield opened(stack, secured(os.environ))


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    """Three nodes for this test alone."""
    with ExitStack() as stack:
        yield opened(stack, three_nodes(os.environ))


class Site:
    """A receiver and a worker with the same settings."""

    def __init__(self, process: Processes, folder: Path, settings: Mapping[str, str]) -> None:
        self._process, self._folder = process, folder
        self.port, self.receiver_port, self.worker_port = free_port(), free_port(), free_port()
        self.settings = {
            "PHONON_TOPIC_PARTITIONS": "2",
            "PHONON_PORT": str(self.port),
            "PHONON_MANAGEMENT_PORT": str(self.receiver_port),
            "PHONON_SPOOL_DIR": str(folder / "spool"),
            "PHONON_LOG_LEVEL": "warning",
            **settings,
        }

    def receiver(self) -> Child:
        return self._process("serve", settings=self.settings, ready=f"http://{LOOPBACK}:{self.receiver_port}/readyz")

    def worker(self) -> Child:
        return self._process("metrics", settings=self.settings | {"PHONON_MANAGEMENT_PORT": str(self.worker_port)})

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """A command's exit code, output and errors."""
        done = run_command(*arguments, settings=self.settings, folder=self._folder, within_seconds=PATIENCE_SECONDS)
        return done.returncode, done.stdout, done.stderr

    def records(self, *topics: str) -> list[dict[str, Any]]:
        code, out, errors = self.run("tail", *topics, "--from-beginning", "--no-follow")
        assert (code, errors) == (0, "")
        return [json.loads(line) for line in out.splitlines()]

    def post(self) -> int:
        return ask(self.port, "POST", "/webhooks/phonon", SAMPLE)[0]

    def readiness(self, port: int) -> tuple[int, str]:
        try:
            return ask(port, "GET", "/readyz")
        except OSError:
            return 0, ""


def test_every_program_works_over_scram_and_tls(
    secure: Secured, process: Processes, tmp_path: Path, prefix: str
) -> None:
    site = Site(process, tmp_path, secure.settings | {"PHONON_TOPIC_PREFIX": prefix})
    assert site.run("topics", "create")[0] == 0
    assert site.run("topics", "check")[0] == 0
    worker, receiver = site.worker(), site.receiver()
    eventually(lambda: site.post() == 200)
    eventually(lambda: site.readiness(site.worker_port)[0] == 200)
    eventually(lambda: site.records("did-metrics"))
    assert {record["record"] for record in site.records()} >= {"CallLeg", "Flow", "DidMetrics"}
    assert PASSWORD not in worker.output + receiver.output
    worker.kill()
    receiver.kill()


async def test_the_state_is_read_at_once_over_tls(secure: Secured, prefix: str) -> None:
    """Waiting for a broker to close its side of TLS took 30 s, one time in sixteen."""
    settings = read_settings(secure.settings | {"PHONON_TOPIC_PREFIX": prefix, "PHONON_TOPIC_PARTITIONS": "1"})
    await asyncio.to_thread(create_topics, settings)
    log_, source = f"{prefix}.did-metrics.v1", f"{prefix}.flow.v1"
    place = Place(f"{prefix}-metrics", log_, source, 0, connection.arguments(settings.kafka))
    async with asyncio.timeout(25):
        for _ in range(8):
            reads = [changelog.read(place, lambda _key, _value: None, lambda _ratio: None) for _ in range(8)]
            assert await asyncio.gather(*reads) == [(0, 0)] * 8


DOCUMENTED = (Path(__file__).parent.parent / "docs" / "access.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| (`.+) \| ([A-Z_]+) \| `([^`]+)` \| (LITERAL|PREFIXED) \| ([A-Z_, ]+) \|")


def documented_acls(prefix: str) -> list[AclBinding]:
    """The rows of docs/access.md, for users that are called as the first words of the programs."""
    acls = []
    for programs, kind, name, pattern, operations in ROW.findall(DOCUMENTED):
        named = ResourceType[kind], name.replace("phonon", prefix), ResourcePatternType[pattern]
        for user, operation in product(set(re.findall(r"`([a-z]+)", programs)), operations.split(", ")):
            acls.append(AclBinding(*named, f"User:{user}", "*", AclOperation[operation], AclPermissionType.ALLOW))
    return acls


def test_with_the_documented_acls_every_program_works_and_without_says_so(
    secure: Secured, process: Processes, tmp_path: Path, prefix: str
) -> None:
    """Receiver and worker begin without any, and go on by themselves once they have theirs."""
    (tmp_path / "groups.csv").write_text("did,group\n*,all\n")
    more = {
        "PHONON_TOPIC_PREFIX": prefix,
        "PHONON_RAW_TOPIC": "true",
        "PHONON_GROUPS": str(tmp_path / "groups.csv"),
        "PHONON_RANKINGS": "attempts:5m:3:1",
    }
    sites = {}
    for name in (USER, *PROGRAMS):
        (tmp_path / name).mkdir()
        sites[name] = Site(process, tmp_path / name, secure.settings | more | {"KAFKA_SASL_USERNAME": name})
    refused = f"Kafka at {secure.settings['KAFKA_BOOTSTRAP_SERVERS']} {NOT_PERMITTED}"
    assert sites["topics"].run("topics", "create") == (1, "", f"phonon-events: {refused}\n")
    assert sites[USER].run("topics", "create")[0] == 0
    receiver, worker = sites["serve"], sites["metrics"]
    processes = [receiver.receiver(), worker.worker()]
    assert receiver.post() == 202
    eventually(lambda: NOT_PERMITTED in receiver.readiness(receiver.receiver_port)[1])
    eventually(lambda: worker.readiness(worker.worker_port)[0] == 503)

    properties: dict[str, Any] = {name[6:].lower().replace("_", "."): value for name, value in secure.settings.items()}
    admin = AdminClient(properties)  # lives until all is answered
    for future in admin.create_acls(documented_acls(prefix)).values():
        future.result()
    assert sites["topics"].run("topics", "create")[0] == 0
    assert sites["topics"].run("topics", "check")[0] == 0
    eventually(lambda: receiver.post() == 200)
    eventually(lambda: worker.readiness(worker.worker_port)[0] == 200)
    tail = sites["tail"]
    eventually(lambda: {"GroupMetrics", "DidRanking"} <= {found_on(record) for record in tail.records()})
    assert sites["replay"].run("replay", "--from-raw")[0] == 0
    spool = Spool(tmp_path / "spool" / "spool", most_bytes=1 << 20)
    prepare(spool.folder)
    spool.commit([Row(1_669_746_081_000, "", SAMPLE)])
    spool.close()
    assert sites["spool"].run("spool", "drain") == (0, "1 deliveries published\n", "")
    port, port_2 = str(free_port()), str(free_port())
    process("dashboard", settings=sites["dashboard"].settings | {"PHONON_DASHBOARD_PORT": port},
            ready=f"http://{LOOPBACK}:{port}/readyz")  # fmt: skip
    address = {"PHONON_MANAGEMENT_PORT": port_2, "PHONON_ALERT_WEBHOOK_URL": "http://127.0.0.1:9/"}
    process("notify", settings=sites["notify"].settings | address, ready=f"http://{LOOPBACK}:{port_2}/readyz")
    for child in processes:
        assert child.returncode is None


def found_on(record: dict[str, Any]) -> str:
    """The topic's record: groups and DIDs have the same."""
    return next(topic.record for topic in TOPICS if record["topic"].endswith(f".{topic.name}.v1"))


REFUSED = {
    "wrong password": ({"KAFKA_SASL_PASSWORD": WRONG}, WRONG_CREDENTIALS),
    "unknown certificate": ({"KAFKA_SSL_CA_LOCATION": "other"}, UNTRUSTED_CERTIFICATE),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_kafka_refuses_is_one_line_that_names_the_setting(
    case: str, secure: Secured, process: Processes, tmp_path: Path
) -> None:
    wrong, line = REFUSED[case]
    if "KAFKA_SSL_CA_LOCATION" in wrong:
        wrong = {"KAFKA_SSL_CA_LOCATION": secure.other_ca}
    site = Site(process, tmp_path, secure.settings | wrong)
    worker, receiver = site.worker(), site.receiver()

    for arguments in (("topics", "create"), ("tail", "flow")):
        began = time.monotonic()
        code, out, errors = site.run(*arguments)
        assert (code, out) == (1, "")
        assert errors == f"phonon-events: Kafka at {secure.settings['KAFKA_BOOTSTRAP_SERVERS']} {line}\n"
        assert time.monotonic() - began < 10

    assert site.post() == 202
    eventually(lambda: line in site.readiness(site.receiver_port)[1])
    assert site.readiness(site.receiver_port)[0] == 200
    eventually(lambda: line in site.readiness(site.worker_port)[1])
    assert site.readiness(site.worker_port)[0] == 503
    for child in (worker, receiver):
        assert child.returncode is None
        eventually(partial(said, child, line), within_seconds=5)
        assert len([one for one in child.output.splitlines() if one.strip()]) <= 2, child.output
        assert PASSWORD not in child.output
        assert WRONG not in child.output
        child.kill()


def test_a_cluster_that_cleans_topics_its_own_way_does_for_all(process: Processes, tmp_path: Path, prefix: str) -> None:
    """Managed ones refuse the settings by which compacted topics stay short: they are longer to read then, no more."""
    with ExitStack() as stack:
        node = opened(stack, managed(os.environ))
        settings = {"KAFKA_BOOTSTRAP_SERVERS": node.bootstrap_servers, "PHONON_TOPIC_PREFIX": prefix}
        site = Site(process, tmp_path, settings)
        assert site.run("topics", "create")[0] == 0
        worker, receiver = site.worker(), site.receiver()
        eventually(lambda: site.readiness(site.worker_port)[0] == 200)
        eventually(lambda: site.post() == 200)
        eventually(lambda: [one for one in site.records("did-metrics") if one["value"]["windows"][0]["flows"] == 1])
        assert site.run("topics", "check")[0] == 0, "the workers' own topic too"
        for child in (worker, receiver):
            assert child.returncode is None
            child.kill()


@pytest.mark.slow
async def test_one_of_three_brokers_killed_costs_nothing(
    nodes: list[Node], process: Processes, tmp_path: Path, prefix: str
) -> None:
    """Under load, with acks of two of three: deliveries are answered, all are there, the worker counts all of them."""
    servers = ",".join(node.bootstrap_servers for node in nodes)
    settings = {"KAFKA_BOOTSTRAP_SERVERS": servers, "PHONON_TOPIC_PREFIX": prefix, "PHONON_TOPIC_REPLICATION": "3"}
    site = Site(process, tmp_path, settings)
    create_topics(read_settings(site.settings))
    assert check_topics(read_settings(site.settings)) == []
    worker, receiver = site.worker(), site.receiver()
    await asyncio.to_thread(eventually, lambda: site.readiness(site.worker_port)[0] == 200)

    oracle = Oracle(site.port, seed=3, rate=RATE)
    async with oracle.phase("one of three brokers killed") as phase:
        await until(lambda: phase.answers["200"] > RATE)
        nodes[1].kill()
        before = phase.answers["200"]
        await asyncio.sleep(4)
        await until(lambda: phase.answers["200"] > before + 2 * RATE)
    await until(lambda: not list((tmp_path / "spool").glob("*.spool")))  # once nothing new can come to it
    print("\n ", phase.line())  # noqa: T201
    assert set(phase.answers) <= {"200", "202"}
    assert phase.slowest_seconds < 4

    alive = nodes[0].bootstrap_servers
    verdict = await asyncio.to_thread(oracle.judge, alive, prefix)
    print(" ", verdict.line())  # noqa: T201
    assert (verdict.losses, verdict.strangers, verdict.wrong) == ([], [], [])
    flows = [value for record, value in read_all(alive, prefix) if record == "Flow"]
    wanted = len(recount.distinct(flows))

    def counted() -> int:
        last = {record["key"]: record["value"]["windows"][-1]["flows"] for record in site.records("did-metrics")}
        return sum(last.values())

    await asyncio.to_thread(eventually, lambda: counted() == wanted)

    await asyncio.to_thread(want_three_replicas, alive, topic_name(prefix, "Sms"))

    def readiness_after_a_delivery() -> str:
        assert site.post() in (200, 202)
        return site.readiness(site.receiver_port)[1]

    why = "are out of sync: too few for min.insync.replicas?"
    await asyncio.to_thread(eventually, lambda: why in readiness_after_a_delivery())
    for child in (worker, receiver):
        assert child.returncode is None
        child.kill()


def want_three_replicas(servers: str, topic: str) -> None:
    wish = ConfigEntry("min.insync.replicas", "3", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[wish])
    admin = AdminClient({"bootstrap.servers": servers})  # to be kept until it has answered
    admin.incremental_alter_configs([resource])[resource].result(10)


def said(child: Child, line: str) -> bool:
    return line in child.output
