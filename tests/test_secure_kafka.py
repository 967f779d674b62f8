"""Kafka as production has it: SCRAM over TLS for every program of ours, and three replicas of which one is killed.

The secured node is real, its certificates are openssl's. What Kafka refuses must be one line that names the setting, in
the log and in readiness, never a traceback, and never a secret.
"""

import asyncio
import http.client
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.demo.child import Child
from app.demo.ports import LOOPBACK, free_port
from app.topics import check_topics, create_topics
from schemas.settings import UNTRUSTED_CERTIFICATE, WRONG_CREDENTIALS, read_settings
from tests import recount
from tests.clusters import PASSWORD, Node, Secured, secured, three_nodes
from tests.conftest import opened
from tests.oracle import Oracle, read_all
from tests.processes import Processes, run_command

pytestmark = pytest.mark.broker

SAMPLE = (Path(__file__).parent / "deliveries" / "sample.json").read_bytes()
PATIENCE_SECONDS = 40.0
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


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=10)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def eventually(condition: Callable[[], Any], within_seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_seconds:g} s"
        time.sleep(0.1)


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
        eventually(partial(said, child, line), 5)
        assert len([one for one in child.output.splitlines() if one.strip()]) <= 2, child.output
        assert PASSWORD not in child.output
        assert WRONG not in child.output
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
        await until(lambda: not list((tmp_path / "spool").glob("*.spool")))
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
    for child in (worker, receiver):
        assert child.returncode is None
        child.kill()


def said(child: Child, line: str) -> bool:
    return line in child.output


async def until(condition: Callable[[], bool], within_seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_seconds:g} s"
        await asyncio.sleep(0.05)
