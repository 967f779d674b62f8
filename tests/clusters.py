"""Kafka as production has it, from the same jars: one node behind SCRAM and TLS, one managed, three that replicate.

openssl makes a CA and a certificate for 127.0.0.1, all PEM. The secured node keeps a plain listener for itself, where
readiness is asked; tests only use the secured one.
"""

import base64
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from app.demo.child import Child
from app.demo.kafka_jars import NoBroker, find_java, kafka_jars
from app.demo.kafka_node import JVM, LOGGING, serves
from app.demo.ports import LOOPBACK, free_port

UP_WITHIN_SECONDS = 90.0
USER, PASSWORD = "svc", "sword-fish"
#: Who may do nothing until an ACL says so; they have the same password.
PROGRAMS = ("serve", "spool", "metrics", "dashboard", "notify", "topics", "tail", "replay")
SMALL_HEAP = ("-Xmx384m", *JVM[1:])

COMMON = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=2097152
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
offsets.topic.replication.factor={replication}
transaction.state.log.replication.factor={replication}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replication}
share.coordinator.state.topic.min.isr={in_sync}
"""
PLAIN = """\
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
"""
SECURED = """\
listeners=SASL_SSL://{host}:{secured},PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=SASL_SSL://{host}:{secured},PLAINTEXT://{host}:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{user};User:ANONYMOUS
"""


class Node:
    """One process of a cluster."""

    def __init__(self, java: list[str], folder: Path, port: int) -> None:
        self._java, self.folder, self.port = java, folder, port
        self._child: Child | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def format(self, cluster: str, *more: str) -> Child:
        """Make the empty log directory; the process that does."""
        arguments = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", *more]
        arguments += ["-c", str(self.folder / "properties")]
        return Child("Kafka's storage tool", [*self._java, *arguments], log=self.folder / "log")

    def start(self) -> None:
        """Start it, without waiting."""
        arguments = ["kafka.Kafka", str(self.folder / "properties")]
        self._child = Child("Kafka", [*self._java, *arguments], log=self.folder / "log")

    def wait(self) -> None:
        """Return when it answers."""
        self.child.wait_until(lambda: serves(self.bootstrap_servers), within_seconds=UP_WITHIN_SECONDS)

    @property
    def child(self) -> Child:
        assert self._child is not None
        return self._child

    def kill(self) -> None:
        """Crash, as with -9."""
        self.child.kill()


def make_node(java: list[str], folder: Path, port: int, properties: str) -> Node:
    """A node with these properties, not formatted yet."""
    folder.mkdir()
    (folder / "properties").write_text(properties)
    (folder / "log4j2.properties").write_text(LOGGING)
    return Node([*java[:1], f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}", *java[1:]], folder, port)


def alone(folder: Path, controller: int) -> str:
    """COMMON of a cluster of one node."""
    voters = f"1@{LOOPBACK}:{controller}"
    return COMMON.format(node=1, voters=voters, data=folder / "data", replication=1, in_sync=1)


@contextmanager
def running(*nodes: Node, users: Iterable[str] = ()) -> Iterator[None]:
    """Format the nodes of one cluster, with these users, and run them until the block ends."""
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    scram = [f"--add-scram=SCRAM-SHA-512=[name={name},password={PASSWORD}]" for name in users]
    formatting = [node.format(cluster, *scram) for node in nodes]
    for child in formatting:
        child.wait_until(partial(ended, child), within_seconds=UP_WITHIN_SECONDS)
    with ExitStack() as stack:
        for node in nodes:
            node.start()
            stack.callback(node.kill)
        for node in nodes:
            node.wait()
        yield


def ended(child: Child) -> bool:
    return child.returncode == 0


def java_with_kafka(environ: Mapping[str, str], *options: str) -> list[str]:
    """The command that runs a class of Kafka's. Raises NoBroker."""
    return [find_java(environ), *options, "-cp", f"{kafka_jars(environ, print)}/*"]


# --- one node behind SCRAM and TLS


class Secured:
    """The secured node's address, and the settings to reach it."""

    def __init__(self, port: int, folder: Path) -> None:
        self.settings = {
            "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CA_LOCATION": str(folder / "ca.pem"),
        }
        self.other_ca = str(folder / "other-ca.pem")


@contextmanager
def secured(environ: Mapping[str, str]) -> Iterator[Secured]:
    """A node that lets in who knows the password, over TLS; only USER may do all. Raises NoBroker or ChildFailed."""
    java = java_with_kafka(environ, *JVM)
    with tempfile.TemporaryDirectory(prefix="phonon-secured-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        make_certificates(folder)
        port, controller, outside = free_port(), free_port(), free_port()
        addresses = {"host": LOOPBACK, "port": port, "controller": controller, "secured": outside}
        properties = SECURED.format(**addresses, keystore=folder / "server.pem", user=USER)
        node = make_node(java, folder / "1", port, alone(folder, controller) + properties)
        with running(node, users=(USER, *PROGRAMS)):
            yield Secured(outside, folder)


def make_certificates(folder: Path) -> None:
    """A CA, a certificate of it for 127.0.0.1 with key and CA in one file, and a CA that signed nothing."""
    for name in ("ca", "other-ca"):
        subject = ["-days", "2", "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE"]
        openssl(folder, "req", "-x509", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem", *subject)
    openssl(folder, "req", *NEW_KEY, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=kafka")
    (folder / "san").write_text(f"subjectAltName=IP:{LOOPBACK},DNS:localhost\n")
    signed_by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    openssl(folder, "x509", "-req", "-in", "server.csr", *signed_by, "-days", "2", "-extfile", "san", "-out", "one.pem")
    parts = [(folder / name).read_text() for name in ("server.key", "one.pem", "ca.pem")]
    (folder / "server.pem").write_text("".join(parts))


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(folder: Path, *arguments: str) -> None:
    if shutil.which("openssl") is None:
        raise NoBroker("no openssl found to make certificates with")
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


# --- a managed node

POLICY = """\
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.CreateTopicPolicy;

public class Managed implements CreateTopicPolicy {
    private static final List<String> OURS =
        List.of("segment.ms", "min.cleanable.dirty.ratio", "max.compaction.lag.ms");

    public void validate(RequestMetadata request) {
        for (String name : OURS) {
            if (request.configs().containsKey(name)) throw new PolicyViolationException(name + " is not yours to set");
        }
    }

    public void configure(Map<String, ?> configs) {}

    public void close() {}
}
"""


@contextmanager
def managed(environ: Mapping[str, str]) -> Iterator[Node]:
    """A node that keeps to itself how often topics are cleaned, as managed clusters do. Raises as others do."""
    *java, jars = java_with_kafka(environ, *JVM)
    if shutil.which("javac") is None:
        raise NoBroker("no javac found to make the policy with")
    with tempfile.TemporaryDirectory(prefix="phonon-managed-", ignore_cleanup_errors=True) as name:
        folder, port, controller = Path(name), free_port(), free_port()
        (folder / "Managed.java").write_text(POLICY)
        subprocess.run(["javac", "-cp", jars, "Managed.java"], cwd=folder, timeout=60, check=True)
        listeners = PLAIN.format(host=LOOPBACK, port=port, controller=controller)
        policy = "create.topic.policy.class.name=Managed\n"
        properties = alone(folder, controller) + listeners + policy
        node = make_node([*java, f"{jars}:{folder}"], folder / "1", port, properties)
        with running(node):
            yield node


# --- three nodes


@contextmanager
def three_nodes(environ: Mapping[str, str]) -> Iterator[list[Node]]:
    """Three nodes, each broker and controller, that replicate to each other. Raises NoBroker or ChildFailed."""
    java = java_with_kafka(environ, *SMALL_HEAP)
    with tempfile.TemporaryDirectory(prefix="phonon-three-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        controllers = {number: free_port() for number in (1, 2, 3)}
        voters = ",".join(f"{number}@{LOOPBACK}:{port}" for number, port in controllers.items())
        nodes = []
        for number, controller in controllers.items():
            port = free_port()
            common = COMMON.format(node=number, voters=voters, data=folder / f"data-{number}", replication=3, in_sync=2)
            listeners = PLAIN.format(host=LOOPBACK, port=port, controller=controller)
            nodes.append(make_node(java, folder / str(number), port, common + listeners))
        with running(*nodes):
            yield nodes
