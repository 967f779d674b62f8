"""`phonon-events demo`: a broker, a metrics worker, the receiver, the live page and gentle traffic, until Ctrl-C.

Each is a process of its own, started as a user starts it, in a temporary directory that goes with them. They stop in
the order of the data, so that nothing is left half done: traffic, page, receiver, worker, broker.
"""

import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NoReturn

import click
from confluent_kafka import KafkaException
from rich.console import Console
from rich.live import Live

from app.cluster import ClusterError
from app.demo import parts, view
from app.demo.broker import broker
from app.demo.child import ChildFailed
from app.demo.kafka_jars import NoBroker
from app.demo.mock_topics import ask_for_topics
from app.demo.parts import Parts
from app.demo.watch import MetricsReader, Seen, counters
from app.topics import create_topics
from schemas.env_file import read_env_file
from schemas.registry import resolver
from schemas.settings import Settings, read_settings
from schemas.topics import topic_name

KAFKA_PORT = 9092
"""Preferred, because it is the default of all our commands: `phonon-events tail` then needs no setting."""
LOOK_SECONDS = 0.5
FIRST_LOOK_SECONDS = 0.1
LINE_EVERY_SECONDS = 10.0


class Stopped(Exception):  # noqa: N818 - what was asked for
    """Ctrl-C, SIGTERM, or a terminal that was closed."""


def run_demo(settings: Settings, *, rate: float, seed: int) -> None:
    """Run everything until Ctrl-C or SIGTERM; raise a click error if a part of it fails."""
    console = Console()
    try:
        with _stoppable(), ExitStack() as stack:
            _run(settings, console, stack, rate=rate, seed=seed)
    except Stopped:
        console.print("Stopped; nothing is left running.")
    except ChildFailed as failure:
        click.echo(failure.log, err=True)
        raise click.ClickException(failure.what) from None
    except (NoBroker, ClusterError, KafkaException) as failure:
        raise click.ClickException(str(failure)) from None


def _run(settings: Settings, console: Console, stack: ExitStack, *, rate: float, seed: int) -> NoReturn:
    begun = time.monotonic()
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    outer = {**{name: value or "" for name, value in read_env_file().items()}, **os.environ}
    directory = Path(
        stack.enter_context(tempfile.TemporaryDirectory(prefix="phonon-demo-", ignore_cleanup_errors=True))
    )
    kafka = stack.enter_context(broker(outer, say=say, port=KAFKA_PORT))
    environment = parts.environment(outer, settings, kafka, directory)
    ours = read_settings(environment)
    make_topics = ask_for_topics if kafka.kind == "mock" else create_topics
    make_topics(ours)
    running = Parts(environment, directory, stack, kafka)
    running.start(ours, rate=rate, seed=seed)
    for line in parts.addresses(ours, kafka, running.worker_port, datetime.now(UTC)):
        say(line)
    topic = topic_name(ours.topic_prefix, "DidMetrics")
    reader = stack.enter_context(closing(MetricsReader(ours.kafka, topic, resolver(ours))))
    _first(running, reader)
    console.print(f"First figures {time.monotonic() - begun:.1f} s after the start; Ctrl-C stops everything.")
    _show(
        console, running, lambda: (counters(ours.management_port), reader.read(LOOK_SECONDS), round(time.time() * 1000))
    )


def _first(running: Parts, reader: MetricsReader) -> None:
    while not reader.read(FIRST_LOOK_SECONDS).metrics:
        running.require()


def _show(console: Console, running: Parts, look: Callable[[], tuple[Counter[str], Seen, int]]) -> NoReturn:
    """Show what is seen: a live table on a terminal, elsewhere a line now and then."""
    due = time.monotonic()
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while True:
            figures = look()
            running.require()
            if live is not None and not console.is_terminal:  # closed, and make, whose it was, has told nobody
                raise Stopped
            if live is not None:
                live.update(view.table(*figures), refresh=True)
            elif time.monotonic() >= due:
                console.print(view.line(*figures), highlight=False, soft_wrap=True)
                due += LINE_EVERY_SECONDS


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn the first of the signals that ask for it into `Stopped`, and let no other disturb the stopping."""
    asking = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        asking.append(signal.SIGHUP)

    def stop(_number: int, _frame: object) -> NoReturn:
        for number in asking:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    former = {number: signal.signal(number, stop) for number in asking}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
