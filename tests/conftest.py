"""Fixtures for tests on a real Kafka and on real processes of ours.

kafka      one broker for the whole session; a test keeps apart from the others by its `prefix`
own_kafka  a broker of the test's own, to pause, kill and start again
process    starts commands; at the end all are stopped, and none may have shown a traceback
"""

import os
import signal
import uuid
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from app.demo import ports
from app.demo.broker import Broker, broker, jars
from app.demo.child import ChildFailed
from app.demo.kafka_jars import NoBroker
from app.demo.kafka_node import KafkaNode
from tests.processes import Processes

T = TypeVar("T")

# The machine is shared with brokers and other processes: an example that takes long says nothing.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")

# A shell starts what is to run in the background with Ctrl-C ignored, and so do all that it starts: tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup, which the demo respects
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Two of xdist's processes must not give one port: neither knows what the other's children are about to open.
PORTS_EACH = 2_000
if beside := os.environ.get("PYTEST_XDIST_WORKER", ""):
    ports.LOWEST = 20_000 + PORTS_EACH * (int(beside.removeprefix("gw")) % 6)
    ports.HIGHEST = ports.LOWEST + PORTS_EACH


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a failed test's processes said belongs to its report: CI keeps nothing else of them."""
    report = yield
    processes = item.funcargs.get("process") if isinstance(item, pytest.Function) else None
    if report.failed and report.when == "call" and isinstance(processes, Processes):
        report.sections += processes.said()
    return report


def without_broker(reason: object, environ: Mapping[str, str]) -> NoReturn:
    """Skip the test, or fail where brokers are required: BROKER_TESTS=required, as CI sets."""
    if environ.get("BROKER_TESTS") == "required":
        pytest.fail(f"BROKER_TESTS=required, but no broker: {reason}", pytrace=False)
    pytest.skip(f"no broker: {reason}")


def opened(stack: ExitStack, kind: AbstractContextManager[T]) -> T:
    """Enter a broker, or leave the test the way `without_broker` says."""
    try:
        return stack.enter_context(kind)
    except (NoBroker, ChildFailed) as reason:
        without_broker(reason, os.environ)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """A real Kafka for the whole session."""
    with ExitStack() as stack:
        yield opened(stack, broker(os.environ, real_only=True))


@pytest.fixture
def own_kafka() -> Iterator[KafkaNode]:
    """A real Kafka for this test alone, 4 s to start, that can be ordered to fail."""
    with ExitStack() as stack:
        node = opened(stack, jars(os.environ, print))
        yield node
        node.kill()  # nobody needs its data any more: stopping it in order takes 3 s


@pytest.fixture
def prefix() -> str:
    """A topic prefix no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Processes]:
    """Start programs of ours: `process("serve", settings={...}, ready="http://127.0.0.1:.../readyz")`."""
    processes = Processes(tmp_path)
    try:
        yield processes
    finally:
        processes.stop_all()
