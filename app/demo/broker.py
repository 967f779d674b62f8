"""Which broker the demo and the tests run on: the first that can be had, in this order.

given   KAFKA_BOOTSTRAP_SERVERS, used as it is
docker  a container through testcontainers, if an engine answers
jars    Apache Kafka's own jars with the machine's Java, fetched by Maven into a cache
mock    librdkafka's built-in cluster: not a Kafka, and it says so

Each kind is a context manager that raises `NoBroker` where it can't be had; the last always can.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from confluent_kafka.admin import AdminClient

from app.demo.child import ChildFailed
from app.demo.kafka_jars import NoBroker, find_java, kafka_jars, kafka_version
from app.demo.kafka_node import KafkaNode
from app.demo.ports import free_port

Kind = Literal["given", "docker", "jars", "mock"]
Say = Callable[[str], None]

MOCK_LIMITS = (
    "This is librdkafka's mock cluster, not a Kafka: it makes no topics by request (always 4 partitions), "
    "keeps at most 5 MiB a partition and drops the rest in silence, and its transactions "
    "hold nothing together. For a first look only."
)


class Broker(Protocol):
    """What all kinds have in common."""

    @property
    def kind(self) -> Kind: ...
    @property
    def bootstrap_servers(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A broker that is not ours to order about."""

    kind: Kind
    bootstrap_servers: str


@contextmanager
def broker(
    environ: Mapping[str, str] = os.environ, *, say: Say = print, real_only: bool = False, port: int | None = None
) -> Iterator[Broker]:
    """Yield the first broker that can be had, and stop it at the end; raise `NoBroker` if there is none.

    `port` is where a broker of our own should listen if that is free; without it, anywhere.
    """
    own = partial(jars, port=port)
    kinds: tuple[Opener, ...] = (given, docker, own) if real_only else (given, docker, own, mock)
    with ExitStack() as stack:
        yield first_of(kinds, environ, say, stack)


def first_of(kinds: "Sequence[Opener]", environ: Mapping[str, str], say: Say, stack: ExitStack) -> Broker:
    """Open the kinds in turn on the stack; return the first that does not refuse."""
    refusals: list[str] = []
    for kind in kinds:
        if kind is mock:
            say(f"No Kafka here: {'; '.join(refusals)}.")
        try:
            return stack.enter_context(kind(environ, say))
        except (NoBroker, ChildFailed) as refusal:
            refusals.append(str(refusal))
    raise NoBroker("; ".join(refusals))


@contextmanager
def given(environ: Mapping[str, str], _say: Say) -> Iterator[Broker]:
    """A broker somebody else runs; whether it answers is theirs to see to."""
    servers = environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if not servers:
        raise NoBroker("KAFKA_BOOTSTRAP_SERVERS is not set")
    yield Elsewhere("given", servers)


@contextmanager
def docker(environ: Mapping[str, str], say: Say) -> Iterator[Broker]:
    """A container; testcontainers takes 2 s to import, so only where an engine may be listening."""
    if not environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        raise NoBroker("no Docker engine")
    try:
        from testcontainers.community.kafka import KafkaContainer

        say("Starting Kafka in a container ...")
        container = KafkaContainer().with_kraft().start()
    except Exception as refusal:  # noqa: BLE001 - not installed, no engine, no image: whatever it is, the next kind is tried
        raise NoBroker(f"no broker from Docker ({type(refusal).__name__})") from None
    try:
        yield Elsewhere("docker", container.get_bootstrap_server())
    finally:
        container.stop()


@contextmanager
def jars(
    environ: Mapping[str, str], say: Say, *, port: int | None = None, advertised: int | None = None
) -> Iterator[KafkaNode]:
    """A node of our own in a temporary directory, gone with it at the end; clients are sent to the advertised port."""
    java = find_java(environ)
    libraries = kafka_jars(environ, say)
    say(f"Starting Apache Kafka {kafka_version(environ)} ...")
    with tempfile.TemporaryDirectory(prefix="phonon-kafka-", ignore_cleanup_errors=True) as directory:
        node = KafkaNode(java, libraries, Path(directory), port=free_port(port), advertised=advertised)
        node.format()
        try:
            node.start()
            yield node
        finally:
            node.stop()


@contextmanager
def mock(_environ: Mapping[str, str], say: Say) -> Iterator[Broker]:
    """librdkafka's mock: it lives in this process, as long as the client that made it."""
    say(MOCK_LIMITS)
    owner = AdminClient({"test.mock.num.brokers": "1", "bootstrap.servers": "mock", "log_level": "3"})
    brokers = owner.list_topics(timeout=5).brokers.values()
    yield Elsewhere("mock", ",".join(f"{one.host}:{one.port}" for one in brokers))
    del owner


Opener = Callable[[Mapping[str, str], Say], AbstractContextManager[Broker]]
