"""`make bench`: what a delivery costs the receiver and a flow record a worker, on this machine, under 5 minutes.

    python -m benchmarks [--rounds 3] [--seconds 3] [--records 100000] [--output benchmarks/results.md]

Prints tables and writes them to benchmarks/results.md, with a picture beside it. A shared or throttled machine moves
every figure; what holds are the ratios within one run.
"""

import argparse
import os
import platform
import re
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.demo.broker import broker
from benchmarks import micro, picture, receiver, spool, worker

RESULTS = Path(__file__).with_name("results.md")
Rows = Sequence[tuple[str, ...]]
WIDTH = 110


def machine() -> str:
    """What it ran on, without names of hosts."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    cpu = f", {found[1]}" if found else ""
    return f"{os.cpu_count()} cores{cpu}; {platform.system()}; Python {platform.python_version()}"


def as_table(title: str, columns: Sequence[str], rows: Rows) -> Table:
    """For the terminal."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def as_markdown(title: str, columns: Sequence[str], rows: Rows) -> str:
    """For results.md."""
    lines = [" | ".join(columns), " | ".join(["---", *["---:"] * (len(columns) - 1)]), *map(" | ".join, rows)]
    return f"## {title}\n\n" + "\n".join(f"| {line} |" for line in lines) + "\n"


def main() -> None:
    """Run all, print and write."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=3)
    options.add_argument("--records", type=int, default=100_000)
    options.add_argument("--output", type=Path, default=RESULTS)
    given = options.parse_args()
    begun, console, busy = time.monotonic(), Console(), os.getloadavg()[0]
    if not console.is_terminal:
        console = Console(width=WIDTH)
    with console.status("starting a broker") as status, broker(say=console.print, real_only=True) as kafka:
        say = status.update
        say("micro-benchmarks")
        small = micro.measure()
        measured = receiver.measure(kafka.bootstrap_servers, rounds=given.rounds, seconds=given.seconds, say=say)
        with tempfile.TemporaryDirectory() as folder:
            servers = kafka.bootstrap_servers
            kept, emptied = spool.measure(
                receiver.prepared(servers), Path(folder), servers, seconds=given.seconds / 2, say=say
            )
        say("metrics worker")
        drained = list(worker.compare(kafka.bootstrap_servers, 1_000, given.records))
        held = worker.memory()
    parts: list[tuple[str, Sequence[str], Rows]] = [
        (
            f"Deliveries of 8 events, {receiver.CONNECTIONS} connections",
            receiver.CLOSED,
            receiver.closed_rows(measured),
        ),
        (f"The same, {receiver.OPEN_RATE} deliveries a second", receiver.OPEN, receiver.open_rows(measured)),
        ("Kafka away: into the spool, 64 connections", spool.KEPT, kept),
        (f"Kafka back: out of the spool beside {spool.LIVE_RATE} new deliveries a second", spool.DRAINED, emptied),
        ("The pure middle, one delivery of the sample", micro.COLUMNS, small),
        (f"Draining {given.records:,} flow records of 1,000 DIDs", worker.COLUMNS, drained),
        ("Memory of a metrics worker's state", worker.MEMORY, held),
    ]
    for part in parts:
        console.print(as_table(*part))
    failures = {one.name: one.failures for one in measured if one.failures}
    if failures:
        console.print(f"[red]answers other than 200: {failures}")
    minutes = (time.monotonic() - begun) / 60
    when = f"{datetime.now(UTC):%Y-%m-%d}, {minutes:.1f} minutes. {machine()}; load average before the run {busy:.1f}."
    given.output.write_text(
        f"# Results of `make bench`\n\n{when}\nMedians, ranges in brackets; turns A B C A B C on the same broker. "
        f"Answers other than 200: {failures or 'none'}.\n\n" + "\n".join(as_markdown(*part) for part in parts),
        encoding="utf-8",
    )
    cpu = {one.name: [turn.cpu_us for turn in one.closed] for one in measured}
    picture.write(given.output.with_suffix(".svg"), cpu, f"{machine()}; {datetime.now(UTC):%Y-%m-%d}")
    console.print(f"{minutes:.1f} minutes; written to {given.output.name}")


if __name__ == "__main__":
    main()
