"""The spool: what a delivery costs while Kafka is away, and how fast what waits goes out beside live traffic."""

import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from app.demo.ports import free_port
from benchmarks import receiver
from benchmarks.receiver import Say, Target, Turn, spread

NOWHERE = "127.0.0.1:9"
LIVE_RATE = 500  # the provider's bulk limit, flows a second
NO_LIMIT = "100000"
TURNS = 2

KEPT = ("Kafka away", "CPU µs a delivery", "kept a second", "p50 ms", "p99 ms")
DRAINED = ("Kafka is back", "drained a second", "live a second", "live p99 ms")


@contextmanager
def started(
    name: str, environment: Mapping[str, str], folder: Path, servers: str, *, workers: int = 1
) -> Iterator[tuple[Target, str]]:
    """A receiver on this spool, and where its metrics are."""
    port, management = free_port(), free_port()
    address = f"http://127.0.0.1:{management}"
    own = {
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "PHONON_PORT": str(port),
        "PHONON_MANAGEMENT_PORT": str(management),
        "PHONON_SIGNING_SECRET": receiver.SECRET,
        "PHONON_SPOOL_DIR": str(folder / "spool"),
        "PHONON_DRAIN_RATE": NO_LIMIT,
        "PHONON_LOG_LEVEL": "error",
    }
    command = [receiver.SCRIPT, "serve", "--workers", str(workers)]
    ready = f"{address}/readyz"
    with receiver.program(name, command, {**environment, **own}, folder, port=port, ready=ready, signed=True) as made:
        yield made, f"{address}/metrics"


def value(metrics: str, name: str) -> float:
    """A metric without labels, as it stands now."""
    with urllib.request.urlopen(metrics, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def measure(environment: Mapping[str, str], folder: Path, servers: str, *, seconds: float, say: Say) -> Any:
    """Both tables: fills a spool without Kafka, then drains it, by one and by two workers, beside live traffic."""
    kept: list[Turn] = []
    drained: list[tuple[str, ...]] = []
    for workers in (1, 2):
        own = folder / f"of {workers}"
        own.mkdir()
        with started(f"keep for {workers}", environment, own, NOWHERE) as (target, _):
            receiver.load(target, seconds=1)
            for number in range(TURNS):
                say(f"Kafka away, turn {number + 1} of {TURNS}")
                kept.append(receiver.turn(target, seconds=seconds))
        say(f"Kafka is back, {workers} workers")
        with started(f"drain by {workers}", environment, own, servers, workers=workers) as (target, metrics):
            drained.append((f"workers: {workers}", *beside_live(target, metrics, seconds)))
    return [kept_row(kept)], drained


def beside_live(target: Target, metrics: str, seconds: float) -> tuple[str, str, str]:
    """Drained and live deliveries a second, and the live ones' p99."""
    before, begun = value(metrics, "phonon_drained_total"), time.monotonic()
    figures = receiver.load(target, seconds=seconds, rate=LIVE_RATE)
    drained = (value(metrics, "phonon_drained_total") - before) / (time.monotonic() - begun)
    assert set(figures["statuses"]) <= {"200", "202"}, figures
    return f"{drained:,.0f}", f"{figures['statuses'].get('200', 0) / figures['seconds']:,.0f}", f"{figures['p99']:.0f}"


def kept_row(turns: list[Turn]) -> tuple[str, ...]:
    """Medians and ranges."""
    assert all(set(turn.figures["statuses"]) == {"202"} for turn in turns)
    rates = [turn.figures["deliveries"] / turn.figures["seconds"] for turn in turns]
    times = (f"{median(turn.figures[q] for turn in turns):.0f}" for q in ("p50", "p99"))
    return ("receiver, every delivery fsync'd", spread([turn.cpu_us for turn in turns]), spread(rates), *times)
