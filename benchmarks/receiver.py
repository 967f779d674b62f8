"""What a delivery costs the receiver: CPU from /proc, beside the floor and two naive ways, in turns in one run.

All get the same load: the provider's sample, another uuid each time, 8 events, acks=all, a real Kafka. Turns (A B C A B
C), because a shared machine drifts: a ratio holds within a run, a number only about.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from app.demo.ports import answers, free_port
from app.topics import create_topics
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
    signed: bool


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


def measure(servers: str, *, rounds: int, seconds: float, say: Say) -> list[Measured]:
    """All targets in turns."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        targets = [stack.enter_context(started) for started in programs(servers, folder)]
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


def programs(servers: str, folder: Path) -> Iterator[Any]:
    """The targets, as context managers."""
    environment = prepared(servers)
    port, management = free_port(), free_port()
    own = {
        "PHONON_PORT": str(port),
        "PHONON_MANAGEMENT_PORT": str(management),
        "PHONON_SIGNING_SECRET": SECRET,
        "PHONON_SPOOL_DIR": str(folder / "spool"),
    }
    quiet = own | {"PHONON_LOG_LEVEL": "warning"}
    yield uvicorn("uvicorn alone", "benchmarks.floor:app", environment, folder)
    ready = f"http://127.0.0.1:{management}/readyz"
    yield program("receiver", [SCRIPT, "serve"], environment | quiet, folder, port=port, ready=ready, signed=True)
    logged = {"PHONON_PORT": str(free_port()), "PHONON_MANAGEMENT_PORT": str(free_port())}
    logged["PHONON_SPOOL_DIR"] = str(folder / "spool of the logging one")
    yield program(
        "receiver, a log line each",
        [SCRIPT, "serve"],
        environment | own | logged,
        folder,
        port=int(logged["PHONON_PORT"]),
        ready=f"http://127.0.0.1:{logged['PHONON_MANAGEMENT_PORT']}/readyz",
        signed=True,
    )
    yield uvicorn("naive: aiokafka, gather", "benchmarks.naive:gather", environment, folder)
    yield uvicorn("naive: confluent, flush", "benchmarks.naive:flush", environment, folder)


def uvicorn(name: str, app: str, environment: dict[str, str], folder: Path) -> Any:
    """A target under uvicorn, with the receiver's own uvicorn settings."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), *UVICORN.split()]
    return program(name, command, environment, folder, port=port, ready=None, signed=False)


@contextmanager
def program(
    name: str,
    command: Sequence[str],
    environment: dict[str, str],
    folder: Path,
    *,
    port: int,
    ready: str | None,
    signed: bool,
) -> Iterator[Target]:
    """A running target, stopped at the end."""
    log = folder / f"{name.replace(' ', '-')}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while not (answers(ready) if ready else listens(port)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start: {log.read_text('utf-8', 'replace')[-500:]}")
            time.sleep(0.1)
        yield Target(name, port, process, signed)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def load(target: Target, *, seconds: float, **options: float) -> dict[str, Any]:
    """Run the load generator, in a process of its own, with more of its options; its figures."""
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(target.port), "--seconds", str(seconds)]
    for name, value in {"connections": CONNECTIONS, **options}.items():
        command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    command += ["--secret", SECRET] if target.signed else []
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def turn(target: Target, *, seconds: float, **options: float) -> Turn:
    """One measured turn."""
    before = cpu_seconds(target.process.pid)
    figures = load(target, seconds=seconds, **options)
    used = cpu_seconds(target.process.pid) - before
    return Turn(1e6 * used / figures["deliveries"], figures)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads and children, from /proc."""
    return sum(_cpu_seconds(one) for one in (pid, *children(pid)))


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def _cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Memory that a process holds, MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


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
