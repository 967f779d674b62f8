"""What a delivery costs the receiver: CPU from /proc, beside the floor and two naive ways, in turns in one run.

All get the same load: the provider's sample, another uuid each time, 8 events, acks=all, a real Kafka. In turns (A B C
A B C), because a shared machine drifts: ratios hold within a run, numbers only roughly.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from app.demo.ports import answers, free_port
from app.topics import create_topics
from benchmarks.processes import cpu_seconds, resident_mb
from schemas.settings import read_settings

SECRET = "whsec_YmVuY2htYXJrcyBvbiBsb29wYmFjaw=="
CONNECTIONS = 64
OPEN_RATE = 300
UVICORN = "--loop uvloop --http httptools --ws none --no-access-log --no-proxy-headers --log-level warning"
ROOT = Path(__file__).parent.parent
SCRIPT = str(Path(sys.executable).with_name("phonon-events"))
Say = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """A program under load."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"
    management: int | None  # a receiver's port; it alone is sent signatures


@dataclass
class Turn:
    """One measured turn: CPU µs a delivery and what the load generator saw."""

    cpu_us: float
    figures: dict[str, Any]


@dataclass
class Measured:
    """All turns of a target."""

    name: str
    closed: list[Turn] = field(default_factory=list)
    open: list[Turn] = field(default_factory=list)
    resident_mb: float = 0.0

    @property
    def failures(self) -> dict[str, int]:
        """Answers other than 200."""
        turns = (turn.figures["statuses"] for turn in (*self.closed, *self.open))
        return {status: count for statuses in turns for status, count in statuses.items() if status != "200"}


def measure(environment: Mapping[str, str], folder: Path, *, rounds: int, seconds: float, say: Say) -> list[Measured]:
    """All targets in turns."""
    with ExitStack() as stack:
        targets = [stack.enter_context(target) for target in programs(environment, folder)]
        measured = {target.name: Measured(target.name) for target in targets}
        for target in targets:
            say(f"warming up: {target.name}")
            load(target, seconds=2.0)
        for number in range(rounds):
            for target in targets:
                say(f"closed loop, turn {number + 1} of {rounds}: {target.name}")
                measured[target.name].closed.append(turn(target, seconds=seconds))
        for number in range(rounds):
            for target in targets:
                say(f"{OPEN_RATE} a second, turn {number + 1} of {rounds}: {target.name}")
                measured[target.name].open.append(turn(target, seconds=seconds, rate=OPEN_RATE))
        for target in targets:
            measured[target.name].resident_mb = resident_mb(target.process.pid)
    return list(measured.values())


def prepared(servers: str) -> dict[str, str]:
    """An environment in which there are topics, and no settings of whoever runs this."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PHONON_", "KAFKA_"))}
    environment |= {"KAFKA_BOOTSTRAP_SERVERS": servers, "PHONON_TOPIC_PREFIX": f"bench{os.getpid()}"}
    create_topics(read_settings(environment))
    return environment


def programs(environment: Mapping[str, str], folder: Path) -> Iterator[AbstractContextManager[Target]]:
    """The targets."""
    yield uvicorn("uvicorn alone", "benchmarks.floor:app", environment, folder)
    yield started("receiver", environment, folder / "quiet")
    yield started("receiver, a log line each", {**environment, "PHONON_LOG_LEVEL": "info"}, folder / "logging")
    yield uvicorn("naive: aiokafka, gather", "benchmarks.naive:gather", environment, folder)
    yield uvicorn("naive: confluent, flush", "benchmarks.naive:flush", environment, folder)


def started(
    name: str, environment: Mapping[str, str], folder: Path, *, workers: int = 1
) -> AbstractContextManager[Target]:
    """A receiver with these settings, and its spool in this folder."""
    port, management = free_port(), free_port()
    settings = {
        "PHONON_LOG_LEVEL": "warning",
        **environment,
        "PHONON_PORT": str(port),
        "PHONON_MANAGEMENT_PORT": str(management),
        "PHONON_SIGNING_SECRET": SECRET,
        "PHONON_SPOOL_DIR": str(folder / "spool"),
    }
    command = [SCRIPT, "serve", "--workers", str(workers)]
    return program(name, command, settings, folder, port=port, management=management)


def uvicorn(name: str, app: str, environment: Mapping[str, str], folder: Path) -> AbstractContextManager[Target]:
    """A target under uvicorn, with the receiver's own uvicorn settings."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), *UVICORN.split()]
    return program(name, command, environment, folder, port=port)


@contextmanager
def program(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    port: int,
    management: int | None = None,
) -> Iterator[Target]:
    """A running target, stopped at the end."""
    folder.mkdir(exist_ok=True)
    log = folder / f"{name.replace(' ', '-')}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while not (answers(f"http://127.0.0.1:{management}/readyz") if management else listens(port)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start: {log.read_text('utf-8', 'replace')[-500:]}")
            time.sleep(0.1)
        yield Target(name, port, process, management)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def load(target: Target, *, seconds: float, **options: float) -> dict[str, Any]:
    """Run the load generator with these options, in a process of its own; returns its figures."""
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(target.port), "--seconds", str(seconds)]
    for name, value in {"connections": CONNECTIONS, **options}.items():
        command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    command += ["--secret", SECRET] if target.management else []
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def turn(target: Target, *, seconds: float, **options: float) -> Turn:
    """One measured turn."""
    before = cpu_seconds(target.process.pid)
    figures = load(target, seconds=seconds, **options)
    used = cpu_seconds(target.process.pid) - before
    return Turn(1e6 * used / figures["deliveries"], figures)


def closed_rows(measured: Sequence[Measured]) -> list[tuple[str, ...]]:
    """Closed loop: medians, ranges in brackets."""
    floor = median(turn.cpu_us for turn in measured[0].closed)
    return [
        (
            one.name,
            spread([turn.cpu_us for turn in one.closed]),
            f"{median(turn.cpu_us for turn in one.closed) / floor:.1f}",
            spread([turn.figures["deliveries"] / turn.figures["seconds"] for turn in one.closed]),
            *(spread([turn.figures[q] for turn in one.closed]) for q in ("p50", "p99")),
            f"{one.resident_mb:.0f}",
        )
        for one in measured
    ]


def open_rows(measured: Sequence[Measured]) -> list[tuple[str, ...]]:
    """Open loop: medians, ranges in brackets."""
    return [
        (
            one.name,
            spread([turn.cpu_us for turn in one.open]),
            *(spread([turn.figures[q] for turn in one.open]) for q in ("p50", "p99", "slowest")),
        )
        for one in measured
    ]


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    digits = 0 if median(values) >= 20 else 1
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), median(values), max(values)))
    return middle if low == high else f"{middle} [{low}–{high}]"


CLOSED = ("program", "CPU µs a delivery", "× floor", "deliveries/s", "p50 ms", "p99 ms", "MB")
OPEN = ("program", "CPU µs a delivery", "p50 ms", "p99 ms", "slowest ms")
