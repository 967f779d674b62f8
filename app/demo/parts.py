"""The parts of the demo that are programs of ours: with which settings they run, how they start, where they are."""

import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

from app.dashboard.guard import address
from app.demo.broker import Broker
from app.demo.child import Child
from app.demo.kafka_node import KafkaNode
from app.demo.ports import LOOPBACK, answers, free_port
from schemas.settings import Settings

PROGRAM = str(Path(sys.executable).with_name("phonon-events"))
READY_WITHIN_SECONDS = 60.0
FOREIGN_PREFIX = "phonon-demo"
"""On a broker that is not ours, made-up calls must not land among real ones."""
MOCK_PARTITIONS = "4"
PSEUDONYM_KEY = "the demo's made-up callers"
"""The demo's, and no secret: with a key the metrics tell callers apart, and its callers are made up."""
SHOWN = {
    "PHONON_GROUPS": str(Path(__file__).with_name("groups.csv")),
    "PHONON_ALERT_RULES": str(Path(__file__).with_name("alerts.toml")),
    "PHONON_RANKINGS": "answer_seizure_ratio:1h:3:10,abandonment_ratio:1h:3:5",
}
"""What is off until a user sets it: the demo has its own, of the default windows, so that there is something to see."""


def environment(outer: Mapping[str, str], settings: Settings, kafka: Broker, directory: Path) -> dict[str, str]:
    """Return the environment of all parts: loopback, ports that are free, the broker, everything kept in the directory.

    What belongs to another broker than ours is set to nothing, which hides it also where it stands in `.env`.
    """
    chosen = {
        "PYTHONUNBUFFERED": "1",
        "PHONON_HOST": LOOPBACK,
        "PHONON_MANAGEMENT_HOST": LOOPBACK,
        "PHONON_PORT": str(free_port(settings.port)),
        "PHONON_MANAGEMENT_PORT": str(free_port(settings.management_port)),
        "PHONON_DASHBOARD_HOST": LOOPBACK,
        "PHONON_DASHBOARD_PORT": str(free_port(settings.dashboard_port)),
        "PHONON_RECEIVER_METRICS_URL": "",
        "PHONON_ALLOWED_IPS": "",  # the traffic comes from here
        "PHONON_SPOOL_DIR": str(directory / "spool"),
        "PHONON_STATE_DIR": str(directory / "state"),
        "PHONON_PSEUDONYM_KEY": outer.get("PHONON_PSEUDONYM_KEY") or PSEUDONYM_KEY,
    }
    if not outer.get("PHONON_WINDOWS"):
        chosen |= {name: outer.get(name) or value for name, value in SHOWN.items()}
    if kafka.kind == "given":
        return {**outer, **chosen, "PHONON_TOPIC_PREFIX": FOREIGN_PREFIX}
    hidden = {name: "" for name in outer if name.startswith(("KAFKA_", "SCHEMA_REGISTRY_"))}
    chosen |= {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PHONON_TOPIC_REPLICATION": "1"}
    if kafka.kind == "mock":
        chosen["PHONON_TOPIC_PARTITIONS"] = MOCK_PARTITIONS
    return {**outer, **hidden, **chosen}


class Parts:
    """Worker, receiver, page and traffic, each with its log in the directory; the stack stops the last one first."""

    def __init__(self, environment: Mapping[str, str], directory: Path, stack: ExitStack, kafka: Broker) -> None:
        self._environment, self._directory, self._stack = environment, directory, stack
        self._children: list[Child] = [] if not isinstance(kafka, KafkaNode) else [kafka.child]
        self.worker_port = 0

    def start(self, settings: Settings, *, rate: float, seed: int) -> None:
        """Start all; return when they are ready."""
        self.worker_port = free_port(settings.management_port + 1)
        worker = self._child("worker", [PROGRAM, "metrics"], PHONON_MANAGEMENT_PORT=str(self.worker_port))
        receiver = self._child("receiver", [PROGRAM, "serve"])
        page = self._child("live page", [PROGRAM, "dashboard"])
        self._wait(receiver, settings.management_port)
        self._child("traffic", [sys.executable, "-P", "-m", "app.demo.traffic", str(rate), str(seed)])
        self._wait(worker, self.worker_port)
        self._wait(page, settings.dashboard_port, "healthz")

    def _child(self, name: str, command: list[str], **settings: str) -> Child:
        env = {**self._environment, **settings}
        child = Child(f"the {name}", command, log=self._directory / f"{name}.log", env=env)
        self._stack.callback(child.stop)
        self._children.append(child)
        return child

    def _wait(self, child: Child, port: int, question: str = "readyz") -> None:
        child.wait_until(lambda: answers(f"http://{LOOPBACK}:{port}/{question}"), within_seconds=READY_WITHIN_SECONDS)

    def require(self) -> None:
        """Raise if one of them has ended."""
        for child in self._children:
            child.require()


def addresses(settings: Settings, kafka: Broker, worker_port: int, now: datetime) -> list[str]:
    """Return the lines that say where everything is."""
    url = f"http://{LOOPBACK}:{settings.port}{settings.webhook_path}"
    names = f"KAFKA_BOOTSTRAP_SERVERS={kafka.bootstrap_servers} PHONON_TOPIC_PREFIX={settings.topic_prefix}"
    return [
        "",
        f"Live page           {address(settings, settings.dashboard_port)}",
        f"Post deliveries to  {url}",
        f"Receiver            http://{LOOPBACK}:{settings.management_port}/metrics, /readyz, /healthz",
        f"Metrics worker      http://{LOOPBACK}:{worker_port}/metrics, /readyz, /healthz",
        f"Kafka               {kafka.bootstrap_servers} ({kafka.kind})",
        "",
        "Calls of your own, and all records, in another terminal:",
        f"  {curl(settings, url, now)}",
        f"  {program()} send --url {url} --synthetic 20",
        f"  {names} {program()} tail --from-beginning",
        "",
    ]


def program() -> str:
    """How a shell of the user's finds phonon-events: after `make run` it is not on the path."""
    return "phonon-events" if shutil.which("phonon-events") else shlex.quote(PROGRAM)


def curl(settings: Settings, url: str, now: datetime) -> str:
    """Return a command that posts one answered call of half a minute that has just ended."""
    started, connected, ended = (f"{now - timedelta(seconds=ago):%Y-%m-%dT%H:%M:%SZ}" for ago in (40, 30, 0))
    leg = (
        '{"cdrId":"1","calleeType":"VISITOR","didNumber":"914422334455","incoming":true,"hangupCause":"16",'
        f'"startTime":"{started}","connectTime":"{connected}","endTime":"{ended}","duration":"30000"}}'
    )
    proof = " -H 'Authorization: ...'" if settings.basic_auth or settings.token else ""
    return f"""curl{proof} {url} -d '{{"phonon-uuid":"my-first-call","callDetails":[{leg}]}}'"""
