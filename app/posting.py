"""The send command's shell: where bodies come from, a progress bar while they go, a table of what became of them.

The bar is on stderr and only on a terminal; the table is the command's result, on stdout.
"""

import asyncio
import math
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
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from app.demo.misbehaviour import ROUGH, USUAL
from app.demo.provider import Delivery, SyntheticProvider
from app.send import ACCEPTED, FOR_GOOD, Done, Outcome, Sender
from app.sources import Progress, Sources, Trouble, expand
from app.terminal import table
from schemas.settings import Settings
from schemas.userinfo import parted

#: Beyond this size files are not read twice, only to know how many deliveries there are.
COUNT_BYTES = 256 * 1024 * 1024
MOST_TOLD = 20
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
    """Yields the deliveries' bodies, and as they pass by writes them down, and what each must become."""
    with ExitStack() as stack:
        bodies, records = (stack.enter_context(Path(p).open("wb")) if p else None for p in (output, expected))
        for delivery in deliveries:
            if bodies:
                bodies.write(delivery.body.replace(b"\n", b" ") + b"\n")
            if records:
                told = {"duplicate": delivery.duplicate, "records": [e._asdict() for e in delivery.expected]}
                records.write(msgspec.json.encode(told) + b"\n")
            yield delivery.body


class Files:
    """Deliveries of files on their way: what can't be read or is refused is told with its place."""

    def __init__(self, sources: Sources, progress: Progress, total: int | None) -> None:
        self.sources, self.progress, self.total = sources, progress, total
        self.unreadable = self.told = 0
        self._console = Console(stderr=True, markup=False, highlight=False)
        sources.told = self._trouble

    def bodies(self) -> Iterator[bytes]:
        """The bodies to post."""
        return self.progress.give(self.sources)

    def answered(self, number: int, status: int, detail: str) -> None:
        """One of them has its final answer."""
        if status not in ACCEPTED:
            item = self.progress.place(number)
            self._tell(item.name, item.line, f"{status} {detail}".rstrip())
        self.progress.settle(number, for_good=status in FOR_GOOD)

    def _trouble(self, trouble: Trouble) -> None:
        self.unreadable += 1
        self._tell(trouble.name, trouble.line, f"can't be read: {trouble.reason}")

    def _tell(self, name: str, line: int, text: str) -> None:
        self.told += 1
        if self.told <= MOST_TOLD:
            self._console.print(f"{name}:{line}: {text}", soft_wrap=True)
        elif self.told == MOST_TOLD + 1:
            self._console.print("... further ones are only counted", soft_wrap=True)


def files(names: Sequence[str], progress: Progress) -> Files:
    """The deliveries in files and folders, `-` is stdin, from where the progress says. Raises NoState, OSError."""
    wanted = [name for name in expand(names) if progress.path is None or not progress.is_own(name)]
    can_be_read_twice = all(Path(name).is_file() for name in wanted)  # a pipe can't, whatever its name
    size = sum(Path(name).stat().st_size for name in wanted) if can_be_read_twice else math.inf
    total = sum(1 for _ in Sources(wanted)) if size < COUNT_BYTES else None
    return Files(Sources(wanted, progress.begin), progress, total)


def post_files(settings: Settings, url: str, names: Sequence[str], state: str | None, pace: Pace) -> str:
    """Posts what files hold, and shows the table; returns what was wrong. Raises Unreachable, NoState, OSError."""
    progress = Progress(Path(state) if state else None, parted(url)[0]).load()
    sent = files(names, progress)
    try:
        outcome = post(settings, url, sent.bodies(), sent.total, pace, sent.answered)
    finally:
        progress.save()
    for name in sent.sources.anew:
        click.echo(f"not the file it was, posted from its start: {name}")
    if sent.sources.skipped:
        click.echo(f"posted before, not again: {sent.sources.skipped}")
    unreadable = f"can't be read to their end: {sent.unreadable} of the files" if sent.unreadable else ""
    return "; ".join(filter(None, (unreadable, outcome.complaint)))


def post(
    settings: Settings,
    url: str,
    bodies: Iterable[bytes],
    total: int | None,
    pace: Pace,
    answered: Done = lambda _number, _status, _detail: None,
) -> Outcome:
    """Posts all and shows the table. Raises Unreachable."""
    sender = Sender(settings, url)
    columns = (TextColumn("posting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Bar(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
    begun = time.monotonic()

    def done(number: int, status: int, detail: str) -> None:
        answered(number, status, detail)
        bar.advance(task)

    with bar:
        task = bar.add_task("posting", total=total)
        outcome = asyncio.run(sender.send(bodies, concurrency=pace.concurrency, rate=pace.rate, done=done))
    show(outcome, time.monotonic() - begun)
    return outcome


def show(outcome: Outcome, seconds: float) -> None:
    """The table by status, and the totals."""
    rows = []
    for status, number in sorted(outcome.statuses.items()):
        times = sorted(outcome.seconds[status])
        middle, slowest = (f"{1000 * times[round(q * (number - 1))]:.0f}" for q in (0.5, 1))
        rows.append((f"{status} {PHRASES.get(status, '')}", number, middle, slowest))
    if rows:
        table(("status", "deliveries", "median ms", "slowest ms"), rows)
    retried = f", retries: {outcome.retries}" if outcome.retries else ""
    click.echo(f"deliveries: {outcome.total}, events: {outcome.events.total()}, seconds: {seconds:.1f}{retried}")
