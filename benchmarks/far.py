"""The receiver where Kafka is not on loopback: answers, and what drains, over links of several round trips.

    python -m benchmarks.far [--round-trips 0,5,20,50] [--rate 200] [--seconds 5] [--output benchmarks/far.md]

Deliveries of 1,000 DIDs, so that all partitions of seven topics are written to. With one producer (PHONON_PRODUCERS=1)
each waits for the others' partitions. The two naive programs are those of `make bench`.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from app.demo.broker import jars
from app.demo.ports import free_port
from benchmarks import receiver
from benchmarks.link import Link, linked
from benchmarks.processes import figure
from benchmarks.report import Rows, as_markdown, as_table, console, machine
from benchmarks.spool import NOWHERE

RESULTS = Path(__file__).with_name("far.md")
COLUMNS = ("program", "round trip ms", "CPU µs a delivery", "p50 ms", "p99 ms", "other than 200")
DRAINED = ("round trip ms", "spooled", "drained a second")
DIDS = 1_000
SPOOLED = 3_000
DRAIN_WITHIN_SECONDS = 120


def answered(
    link: Link, environment: dict[str, str], folder: Path, round_trips: list[float], rate: float, seconds: float
) -> Iterator[tuple[str, ...]]:
    """Each program over each link."""
    with ExitStack() as stack:
        targets = [
            stack.enter_context(receiver.started("receiver", environment, folder / "several")),
            stack.enter_context(
                receiver.started("one producer", environment | {"PHONON_PRODUCERS": "1"}, folder / "one")
            ),
            stack.enter_context(receiver.uvicorn("aiokafka, gather", "benchmarks.naive:gather", environment, folder)),
            stack.enter_context(receiver.uvicorn("confluent, flush", "benchmarks.naive:flush", environment, folder)),
        ]
        for target in targets:
            receiver.load(target, seconds=2, rate=rate, dids=DIDS)
        for link.round_trip in round_trips:
            for target in targets:
                turn = receiver.turn(target, seconds=seconds, rate=rate, dids=DIDS)
                found = turn.figures
                others = found["deliveries"] - found["statuses"].get("200", 0)
                times = (f"{found[q]:,.0f}" for q in ("p50", "p99"))
                yield target.name, f"{1000 * link.round_trip:g}", f"{turn.cpu_us:,.0f}", *times, f"{others:,}"


def drained(
    link: Link, environment: dict[str, str], folder: Path, round_trips: list[float]
) -> Iterator[tuple[str, ...]]:
    """What is spooled without Kafka, as fast as it goes out over each link; PHONON_DRAIN_RATE is as it comes."""
    for link.round_trip in round_trips:
        own = folder / f"drain {link.round_trip:g}"
        with receiver.started("away", environment | {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE}, own) as target:
            kept = receiver.load(target, seconds=SPOOLED / 1000, rate=1000, dids=DIDS)["statuses"]["202"]
        with receiver.started("back", environment, own) as target:
            metrics = f"http://127.0.0.1:{target.management}/metrics"
            end = time.monotonic() + DRAIN_WITHIN_SECONDS
            begun, first = time.monotonic(), figure(metrics, "phonon_drained_total")
            while figure(metrics, "phonon_spool_rows") and time.monotonic() < end:
                time.sleep(0.05)
            rate = (figure(metrics, "phonon_drained_total") - first) / (time.monotonic() - begun)
        yield f"{1000 * link.round_trip:g}", f"{kept:,}", f"{rate:,.0f}"


def main() -> None:
    """Run all, print and write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--round-trips", default="0,5,20,50", help="ms, separated by commas")
    options.add_argument("--rate", type=float, default=200)
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--output", type=Path, default=RESULTS)
    given = options.parse_args()
    round_trips = [float(text) / 1000 for text in given.round_trips.split(",")]
    shown, begun, port = console(), time.monotonic(), free_port()
    with ExitStack() as stack:
        link = stack.enter_context(linked(port))
        kafka = stack.enter_context(jars(os.environ, shown.print, port=port, advertised=link.port))
        environment = receiver.prepared(kafka.bootstrap_servers) | {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{link.port}"}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        answers = list(answered(link, environment, folder, round_trips, given.rate, given.seconds))
        out = list(drained(link, environment, folder, round_trips))
    tables: list[tuple[str, Sequence[str], Rows]] = [
        (f"{given.rate:g} deliveries a second of {DIDS:,} DIDs", COLUMNS, answers),
        ("Out of the spool", DRAINED, out),
    ]
    for table in tables:
        shown.print(as_table(*table))
    when = f"{datetime.now(UTC):%Y-%m-%d}, {(time.monotonic() - begun) / 60:.1f} minutes. {machine()}."
    given.output.write_text("\n".join(as_markdown(*table) for table in tables) + f"\n{when}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
