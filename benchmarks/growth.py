"""How the receiver's cost grows: with connections, DIDs, rows, new connections, workers; and its memory over time.

    python -m benchmarks.growth [--seconds 3] [--minutes 0] [--output benchmarks/growth.md]

Everything in turns with the sample at 64 connections, against which each figure is read. With --minutes the memory of
one receiver at full load is watched for so long, each delivery of another flow and one of 50,000 DIDs.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.demo.broker import broker
from benchmarks import receiver
from benchmarks.processes import resident_mb
from benchmarks.report import as_markdown, as_table, console, machine

RESULTS = Path(__file__).with_name("growth.md")
COLUMNS: Sequence[str] = ("load", "CPU µs a delivery", "× the sample", "deliveries/s", "p99 ms")
MEMORY: Sequence[str] = ("minutes at full load", "deliveries", "MB")
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    *((f"{n:,} connections", {"connections": n}) for n in (1, 16, 256, 1_000)),
    *((f"{n:,} DIDs", {"dids": n}) for n in (10, 1_000, 50_000)),
    *((f"{n} legs, nothing else", {"rows": n}) for n in (1, 10, 50, 200)),
    ("a new connection for each delivery", {"close": True}),
)


def rows(target: receiver.Target, two: receiver.Target, seconds: float) -> Iterator[tuple[str, ...]]:
    """Each case between two turns of the sample."""
    before = receiver.turn(target, seconds=seconds)
    yield row("the sample, 64 connections", before, before, before)
    for name, options in (*CASES, ("the sample, two workers", {})):
        measured = receiver.turn(two if "workers" in name else target, seconds=seconds, **options)
        after = receiver.turn(target, seconds=seconds / 2)
        yield row(name, measured, before, after)
        before = after


def row(name: str, measured: receiver.Turn, before: receiver.Turn, after: receiver.Turn) -> tuple[str, ...]:
    """One line, with any statuses other than 200."""
    figures = measured.figures
    others = {status: count for status, count in figures["statuses"].items() if status != "200"}
    ratio = 2 * measured.cpu_us / (before.cpu_us + after.cpu_us)
    rate = figures["deliveries"] / figures["seconds"]
    return (
        name + (f" ({others})" if others else ""),
        f"{measured.cpu_us:,.0f}",
        f"{ratio:.2f}",
        f"{rate:,.0f}",
        f"{figures['p99']:.0f}",
    )


def memory(target: receiver.Target, minutes: int) -> Iterator[tuple[str, ...]]:
    """What the receiver holds, minute by minute, under load all the time."""
    deliveries = 0
    yield "0", "0", f"{resident_mb(target.process.pid):.1f}"
    for minute in range(1, minutes + 1):
        figures = receiver.load(target, seconds=60, dids=50_000)
        deliveries += figures["deliveries"]
        yield f"{minute}", f"{deliveries:,}", f"{resident_mb(target.process.pid):.1f}"


def main() -> None:
    """Run all, print and write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=3)
    options.add_argument("--minutes", type=int, default=0)
    options.add_argument("--output", type=Path, default=RESULTS)
    given = options.parse_args()
    shown, begun = console(), time.monotonic()
    with ExitStack() as stack:
        kafka = stack.enter_context(broker(say=shown.print, real_only=True))
        environment = receiver.prepared(kafka.bootstrap_servers)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        one, two = (
            stack.enter_context(receiver.started(f"{n}", environment, folder / f"of {n}", workers=n)) for n in (1, 2)
        )
        for target in (one, two):
            receiver.load(target, seconds=2)
        if given.minutes:
            title, columns, lines = "Memory of one receiver at full load", MEMORY, memory(one, given.minutes)
        else:
            title, columns, lines = "The receiver under other loads", COLUMNS, rows(one, two, given.seconds)
        found = []
        for line in lines:
            found.append(line)
            shown.print(" · ".join(line))
    shown.print(as_table(title, columns, found))
    when = f"{datetime.now(UTC):%Y-%m-%d}, {(time.monotonic() - begun) / 60:.1f} minutes. {machine()}."
    given.output.write_text(f"{as_markdown(title, columns, found)}\n{when}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
