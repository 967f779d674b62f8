"""The send command's shell: where bodies come from, a progress bar while they go, a table of what became of them.

The bar is on stderr and only on a terminal; the table is the command's result, on stdout.
"""

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.demo.misbehaviour import ROUGH, USUAL
from app.demo.provider import Delivery, SyntheticProvider
from app.send import Outcome, Sender, default_url, documents
from schemas.settings import Settings

PHRASES = {int(status): status.phrase for status in HTTPStatus}


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Which synthetic deliveries: `span` seconds of calls, the last of which ended at `until` (None: now)."""

    seed: int
    dids: int
    duplicates: float
    rough: bool
    until: datetime | None
    span: float


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast to post: at most `concurrency` at once, `rate` a second (None: as fast as they are taken)."""

    concurrency: int
    rate: float | None


def synthetic(n: int, traffic: Traffic) -> Iterator[Delivery]:
    """n deliveries of a synthetic provider; the same traffic (with `until` set) is the same bytes."""
    until = traffic.until.replace(tzinfo=UTC) if traffic.until else datetime.now(UTC)
    misbehave = replace(ROUGH if traffic.rough else USUAL, duplicates=traffic.duplicates)
    start = until - timedelta(seconds=traffic.span)
    provider = SyntheticProvider(traffic.seed, start=start, dids=traffic.dids, misbehave=misbehave)
    return provider.backlog(n, until=until)


def write(deliveries: Iterable[Delivery], output: str | None, expected: str | None) -> Iterator[bytes]:
    """Writes down the deliveries, and what each must become, as they pass by; yields their bodies."""
    with ExitStack() as stack:
        bodies, records = (stack.enter_context(Path(p).open("wb")) if p else None for p in (output, expected))
        for delivery in deliveries:
            if bodies:
                bodies.write(delivery.body.replace(b"\n", b" ") + b"\n")
            if records:
                told = {"duplicate": delivery.duplicate, "records": [e._asdict() for e in delivery.expected]}
                records.write(msgspec.json.encode(told) + b"\n")
            yield delivery.body


def read(files: Sequence[str]) -> Iterator[bytes]:
    """The bodies in the files, `-` is stdin."""
    for name in files:
        with click.open_file(name, "rb") as file:
            yield from documents(name, file)


def count(files: Sequence[str]) -> int | None:
    """How many deliveries there are, where that can be known before stdin is read."""
    return None if "-" in files else sum(1 for _ in read(files))


def post(settings: Settings, url: str | None, bodies: Iterable[bytes], total: int | None, pace: Pace) -> Outcome:
    """Posts all and shows the table. Raises Unreachable."""
    sender = Sender(settings, url or default_url(settings))
    columns = (TextColumn("posting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
    begun = time.monotonic()
    with bar:
        task = bar.add_task("posting", total=total)
        sending = sender.send(bodies, concurrency=pace.concurrency, rate=pace.rate, done=lambda: bar.advance(task))
        outcome = asyncio.run(sending)
    show(outcome, time.monotonic() - begun)
    return outcome


def show(outcome: Outcome, seconds: float) -> None:
    """The table by status, and the totals."""
    table = Table("status", "deliveries", "median ms", "slowest ms")
    for status, number in sorted(outcome.statuses.items()):
        times = sorted(outcome.seconds[status])
        middle, slowest = (f"{1000 * times[round(q * (number - 1))]:.0f}" for q in (0.5, 1))
        table.add_row(f"{status} {PHRASES.get(status, '')}", str(number), middle, slowest)
    Console().print(table)
    retried = f", retries: {outcome.retries}" if outcome.retries else ""
    click.echo(f"deliveries: {outcome.total}, events: {outcome.events.total()}, seconds: {seconds:.1f}{retried}")
