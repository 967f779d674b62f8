"""`make bench`: what a delivery costs the receiver and a flow record a worker, on this machine, under 5 minutes.

    python -m benchmarks [--rounds 3] [--seconds 3] [--records 100000] [--output benchmarks/results.md]

Prints tables and writes them to benchmarks/results.md, with a picture beside it. A shared or throttled machine moves
every figure; what holds are the ratios within one run.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from app.demo.broker import broker
from benchmarks import micro, picture, receiver, spool, worker
from benchmarks.report import Rows, as_markdown, as_table, console, machine

RESULTS = Path(__file__).with_name("results.md")


def main() -> None:
    """Run all, print and write."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=3)
    options.add_argument("--records", type=int, default=100_000)
    options.add_argument("--output", type=Path, default=RESULTS)
    given = options.parse_args()
    begun, shown, busy = time.monotonic(), console(), os.getloadavg()[0]
    with shown.status("starting a broker") as status, broker(say=shown.print, real_only=True) as kafka:
        say = status.update
        say("micro-benchmarks")
        small = micro.measure()
        environment = receiver.prepared(kafka.bootstrap_servers)
        with tempfile.TemporaryDirectory() as folder:
            measured = receiver.measure(environment, Path(folder), rounds=given.rounds, seconds=given.seconds, say=say)
            kept, emptied = spool.measure(environment, Path(folder), seconds=given.seconds / 2, say=say)
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
        shown.print(as_table(*part))
    failures = {one.name: one.failures for one in measured if one.failures}
    if failures:
        shown.print(f"[red]answers other than 200: {failures}")
    minutes = (time.monotonic() - begun) / 60
    when = f"{datetime.now(UTC):%Y-%m-%d}, {minutes:.1f} minutes. {machine()}; load average before the run {busy:.1f}."
    given.output.write_text(
        f"# Results of `make bench`\n\n{when}\nMedians, ranges in brackets; turns A B C A B C on the same broker. "
        f"Answers other than 200: {failures or 'none'}.\n\n" + "\n".join(as_markdown(*part) for part in parts),
        encoding="utf-8",
    )
    cpu = {one.name: [turn.cpu_us for turn in one.closed] for one in measured}
    picture.write(given.output.with_suffix(".svg"), cpu, f"{machine()}; {datetime.now(UTC):%Y-%m-%d}")
    shown.print(f"{minutes:.1f} minutes; written to {given.output.name}")


if __name__ == "__main__":
    main()
