"""The spool: what a delivery costs while Kafka is away, and how fast what waits drains beside live traffic."""

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import receiver
from benchmarks.processes import figure
from benchmarks.receiver import Say, Target, Turn, spread

NOWHERE = "127.0.0.1:9"
LIVE_RATE = 500  # the provider's bulk limit, flows a second
NO_LIMIT = "100000"
TURNS = 2

KEPT = ("Kafka away", "CPU µs a delivery", "kept a second", "p50 ms", "p99 ms")
DRAINED = ("Kafka is back", "drained a second", "live a second", "live p99 ms")


def measure(environment: Mapping[str, str], folder: Path, *, seconds: float, say: Say) -> Any:
    """Both tables: fills a spool without Kafka, then drains it, by one and by two workers, beside live traffic."""
    kept: list[Turn] = []
    drained: list[tuple[str, ...]] = []
    back = {**environment, "PHONON_DRAIN_RATE": NO_LIMIT, "PHONON_LOG_LEVEL": "error"}
    away = back | {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE}
    for workers in (1, 2):
        own = folder / f"of {workers}"
        with receiver.started(f"keep for {workers}", away, own) as target:
            receiver.load(target, seconds=1)
            for number in range(TURNS):
                say(f"Kafka away, turn {number + 1} of {TURNS}")
                kept.append(receiver.turn(target, seconds=seconds))
        say(f"Kafka is back, {workers} workers")
        with receiver.started(f"drain by {workers}", back, own, workers=workers) as target:
            drained.append((f"workers: {workers}", *beside_live(target, seconds)))
    return [kept_row(kept)], drained


def beside_live(target: Target, seconds: float) -> tuple[str, str, str]:
    """Drained and live deliveries a second, and the live ones' p99."""
    metrics = f"http://127.0.0.1:{target.management}/metrics"
    before, begun = figure(metrics, "phonon_drained_total"), time.monotonic()
    figures = receiver.load(target, seconds=seconds, rate=LIVE_RATE)
    drained = (figure(metrics, "phonon_drained_total") - before) / (time.monotonic() - begun)
    assert set(figures["statuses"]) <= {"200", "202"}, figures
    return f"{drained:,.0f}", f"{figures['statuses'].get('200', 0) / figures['seconds']:,.0f}", f"{figures['p99']:.0f}"


def kept_row(turns: list[Turn]) -> tuple[str, ...]:
    """Medians and ranges."""
    assert all(set(turn.figures["statuses"]) == {"202"} for turn in turns)
    rates = [turn.figures["deliveries"] / turn.figures["seconds"] for turn in turns]
    times = (f"{median(turn.figures[q] for turn in turns):.0f}" for q in ("p50", "p99"))
    return ("receiver, every delivery fsync'd", spread([turn.cpu_us for turn in turns]), spread(rates), *times)
