"""A one-node Apache Kafka from its jars, which can be ordered to fail: the broker of the demo and of the fault tests.

KRaft, broker and controller in one process, on loopback, everything in one directory. It keeps its ports and its data
over `kill` and `start`, so clients see what they would see of a broker that crashed.
"""

import base64
import signal
import uuid
from pathlib import Path
from typing import Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from app.demo.child import Child, ChildFailed
from app.demo.ports import LOOPBACK, free_port

UP_WITHIN_SECONDS = 60.0

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=2097152
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""
"""The coordinators' topics are made for one node; the cleaner's buffer fits a small heap (the default does not start);
the session timeout is how long a killed broker stays fenced when it comes back (5 s this way, 15-18 s by default)."""

LOGGING = """\
status=error
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c: %m%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
"""

JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
"""A small heap, and no time spent on optimising what lives for minutes: half a second less until the first answer."""


class KafkaNode:
    """One broker in one directory. `start` before use, `stop` at the end."""

    kind: Literal["jars"] = "jars"

    def __init__(self, java: str, jars: Path, directory: Path, *, port: int, advertised: int | None = None) -> None:
        self._java = [java, *JVM, f"-Dlog4j2.configurationFile={directory / 'log4j2.properties'}", "-cp", f"{jars}/*"]
        self._properties = directory / "server.properties"
        self._log = directory / "kafka.log"
        self._child: Child | None = None
        self.bootstrap_servers = f"{LOOPBACK}:{port}"
        self._properties.write_text(
            PROPERTIES.format(
                host=LOOPBACK,
                port=port,
                advertised=advertised or port,
                controller_port=free_port(),
                data=directory / "data",
            )
        )
        (directory / "log4j2.properties").write_text(LOGGING)

    def format(self) -> None:
        """Make the empty log directory, once."""
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        arguments = [
            "kafka.tools.StorageTool",
            "format",
            "--ignore-formatted",
            f"--cluster-id={cluster}",  # not as a word of its own: one in 64 begins with a dash
            "-c",
            str(self._properties),
        ]
        child = Child("Kafka's storage tool", [*self._java, *arguments], log=self._log)
        try:
            code = child.wait(UP_WITHIN_SECONDS)
        finally:
            child.kill()
        if code != 0:
            ended = f"ended with code {code}" if code else f"was not ready in {UP_WITHIN_SECONDS:g} s"
            raise ChildFailed(f"{child.name} {ended}", child.tail())

    def start(self) -> None:
        """Start it, and return when it answers; also after `kill`, on the same ports and data."""
        self._child = Child("Kafka", [*self._java, "kafka.Kafka", str(self._properties)], log=self._log)
        try:
            self._child.wait_until(lambda: serves(self.bootstrap_servers), within_seconds=UP_WITHIN_SECONDS)
        except BaseException:
            self._child.kill()
            raise

    @property
    def pid(self) -> int:
        return self.child.pid

    def pause(self) -> None:
        """Hang: connections stay open, nothing is answered."""
        self.child.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.child.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Crash, as with -9."""
        self.child.kill()

    def stop(self) -> None:
        """Stop in order; nothing happens if it does not run."""
        if self._child is not None:
            self._child.signal(signal.SIGCONT)
            self._child.stop(grace_seconds=15)

    @property
    def child(self) -> Child:
        """The process of the last start."""
        if self._child is None:
            raise RuntimeError("the broker was never started")
        return self._child


def serves(bootstrap_servers: str, *, within_seconds: float = 1.0) -> bool:
    """Tell whether a broker answers a metadata request there."""
    client = AdminClient(
        {"bootstrap.servers": bootstrap_servers, "log_level": 0, "socket.connection.setup.timeout.ms": 1000}
    )
    try:
        return bool(client.list_topics(timeout=within_seconds).brokers)
    except KafkaException:
        return False
