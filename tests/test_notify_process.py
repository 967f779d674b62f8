"""`phonon-events notify` on a real Kafka, to real servers that fail, hang and recover: nothing is lost."""

import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from app.credentials import Credentials, verify_signature
from app.demo.broker import Broker
from app.demo.child import Child
from app.demo.kafka_node import KafkaNode
from app.demo.ports import LOOPBACK, answers, free_port
from app.notify.source import MOST_AHEAD
from app.topics import create_topics
from schemas.settings import read_settings
from schemas.topics import topic_name
from tests.alerts import DID, value, webhook_id
from tests.patience import eventually
from tests.processes import Processes

PARTITIONS = 3
SECRET = "whsec_YSBrZXkgb2Ygb3VycyB0aGF0IG5vYm9keSBrbm93cw=="
KEY = b"a key of ours that nobody knows"
PATH = "/T0/a-token"


@dataclass
class Hooks:
    """A server that gets alerts: answers with `status`, or hangs while there is none."""

    status: int | None = 200
    got: list[str] = field(default_factory=list)
    url: str = ""

    def ids(self) -> set[str]:
        return set(self.got)

    def order(self) -> list[str]:
        """The messages as they were taken first."""
        return list(dict.fromkeys(self.got))


def served(hooks: Hooks) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower().encode(): text.encode() for name, text in self.headers.items()}
            verify_signature(Credentials(signing=(KEY,)), headers, body, now=time.time())
            deadline = time.monotonic() + 60
            while hooks.status is None and time.monotonic() < deadline:
                time.sleep(0.05)
            status = hooks.status or 500
            if status == 200:
                hooks.got.append(self.headers["webhook-id"])
            try:
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()
            except OSError:
                pass  # whoever asked is gone

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    hooks.url = f"http://{LOOPBACK}:{server.server_port}{PATH}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def hooks() -> Iterator[Callable[..., Hooks]]:
    """Makes servers."""
    servers = []

    def make(status: int | None = 200) -> Hooks:
        made = Hooks(status)
        servers.append(served(made))
        return made

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@dataclass
class Site:
    """A topic of alerts, and the program that sends them."""

    kafka: Broker
    prefix: str
    process: Processes
    port: int = field(default_factory=free_port)

    def settings(self, *urls: str) -> dict[str, str]:
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "PHONON_TOPIC_PREFIX": self.prefix,
            "PHONON_TOPIC_PARTITIONS": str(PARTITIONS),
            "PHONON_MANAGEMENT_PORT": str(self.port),
            "PHONON_ALERT_WEBHOOK_URL": " ".join(urls),
            "PHONON_ALERT_WEBHOOK_SECRET": SECRET,
        }

    @property
    def topic(self) -> str:
        return topic_name(self.prefix, "DidAlert")

    def start(self, *to: Hooks, port: int = 0) -> Child:
        port = port or self.port
        settings = self.settings(*(one.url for one in to)) | {"PHONON_MANAGEMENT_PORT": str(port)}
        return self.process("notify", settings=settings, ready=f"http://{LOOPBACK}:{port}/readyz")

    def write(self, *alerts: tuple[int, str]) -> None:
        """Put alerts on the topic, each alert's in one partition."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap_servers})
        for number, state in alerts:
            producer.produce(self.topic, value(number, state), partition=number % PARTITIONS)
        assert producer.flush(10) == 0

    def places(self) -> list[TopicPartition]:
        """What the group has committed."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": f"{self.prefix}-notify"})
        places = consumer.committed([TopicPartition(self.topic, n) for n in range(PARTITIONS)], timeout=10)
        consumer.close()
        return places

    def committed(self) -> list[int]:
        """The group's offsets."""
        return [place.offset for place in self.places()]

    def farthest(self) -> list[int]:
        """How far the address that is farthest is in each partition."""
        return [max(json.loads(place.metadata or '{"": 0}').values()) for place in self.places()]

    def figures(self) -> str:
        with urlopen(f"http://{LOOPBACK}:{self.port}/metrics", timeout=5) as page:
            text: str = page.read().decode()
        return text


@pytest.fixture
def site(kafka: Broker, prefix: str, process: Processes) -> Site:
    made = Site(kafka, prefix, process)
    create_topics(read_settings(made.settings("http://127.0.0.1/")))
    return made


@pytest.mark.broker
def test_a_dead_address_holds_up_no_other_and_gets_all_when_it_is_back(site: Site, hooks: Callable[..., Hooks]) -> None:
    well, dead = hooks(), hooks(503)
    site.write((100, "FIRING"), (101, "FIRING"))  # old when the group begins
    first = site.start(well, dead)
    told = [(number, state) for number in range(12) for state in ("FIRING", "RESOLVED")]
    site.write(*told)
    every = {webhook_id(number, state) for number, state in told}
    eventually(lambda: well.ids() == every)
    assert dead.got == []
    eventually(lambda: 'phonon_alerts_sent_total{address="127.0.0.1#1"} 24.0' in site.figures())
    assert 'phonon_alerts_waiting{address="127.0.0.1#2"} 24.0' in site.figures()
    eventually(lambda: sum(site.farthest()) == 2 + len(every))
    ages = dict(re.findall(r'oldest_age_seconds{address="127.0.0.1#(.)"} (.+)', site.figures()))
    assert float(ages["1"]) == 0 < float(ages["2"]) < 120
    first.kill()
    assert "a-token" not in first.output
    assert DID not in first.output

    site.write((20, "FIRING"))
    dead.status = 200
    second = site.start(well, dead)
    every.add(webhook_id(20))
    eventually(lambda: dead.ids() == well.ids() == every)
    assert max(Counter(well.got).values()) == 1, "who had them gets them no second time"
    order = dead.order()
    for number in range(12):
        assert order.index(webhook_id(number)) < order.index(webhook_id(number, "RESOLVED"))
    eventually(lambda: sum(site.committed()) == 2 + len(every))
    assert second.stop() == 0


@pytest.mark.broker
@pytest.mark.parametrize("ended", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_committed_that_was_not_answered(site: Site, hooks: Callable[..., Hooks], ended: int) -> None:
    hanging = hooks(None)
    first = site.start(hanging)
    site.write((1, "FIRING"), (2, "FIRING"), (1, "RESOLVED"))
    eventually(lambda: 'waiting{address="127.0.0.1"} 3.0' in site.figures())
    begun = time.monotonic()
    first.signal(ended)
    code = first.wait(10)
    assert time.monotonic() - begun < 2
    assert code == (0 if ended == signal.SIGTERM else -ended)
    assert (site.committed(), hanging.got) == ([0, 0, 0], [])

    hanging.status = 200
    site.start(hanging)
    eventually(lambda: hanging.ids() == {webhook_id(1), webhook_id(2), webhook_id(1, "RESOLVED")})
    eventually(lambda: sum(site.committed()) == 3)


@pytest.mark.broker
def test_a_kafka_that_hangs_is_said_while_what_was_settled_waits_to_be_kept(
    own_kafka: KafkaNode, prefix: str, process: Processes, hooks: Callable[..., Hooks]
) -> None:
    """The commit is not waited for: as long as Kafka hung, notify said that it was ready."""
    site, to = Site(own_kafka, prefix, process), hooks(503)
    create_topics(read_settings(site.settings(to.url)))
    first = site.start(to)
    ready = f"http://{LOOPBACK}:{site.port}/readyz"
    site.write((1, "FIRING"))
    eventually(lambda: 'waiting{address="127.0.0.1"} 1.0' in site.figures())
    own_kafka.pause()
    to.status = 200
    eventually(lambda: to.ids() == {webhook_id(1)})
    eventually(lambda: not answers(ready))
    own_kafka.resume()
    eventually(lambda: answers(ready), within_seconds=30)
    eventually(lambda: sum(site.committed()) == 1)
    assert first.stop() == 0


@pytest.mark.broker
def test_two_processes_share_the_work_and_one_may_come_and_go(site: Site, hooks: Callable[..., Hooks]) -> None:
    to = hooks()
    site.start(to)
    every, other = set[str](), None
    for number in range(30):
        site.write((number, "FIRING"), (number, "RESOLVED"))
        every |= {webhook_id(number), webhook_id(number, "RESOLVED")}
        if number == 5:
            other = site.start(to, port=free_port())
        if number == 20 and other:
            assert other.stop() == 0
        time.sleep(0.1)
    eventually(lambda: to.ids() == every)
    order = to.order()
    for number in range(30):
        assert order.index(webhook_id(number)) < order.index(webhook_id(number, "RESOLVED"))
    eventually(lambda: sum(site.committed()) == 60)
    assert other is not None
    assert other.output.count("alert sent") > 0


@pytest.mark.broker
def test_a_partition_that_comes_back_while_too_much_waits_is_read_on(site: Site, hooks: Callable[..., Hooks]) -> None:
    """It was paused, and its consumer would leave it so, although nothing of it waits any more."""
    dead = hooks(503)
    site.start(dead)
    site.write(*((number, "FIRING") for number in range(1_200)))
    eventually(lambda: any(float(n) >= MOST_AHEAD for n in re.findall(r"alerts_waiting{.+} (.+)", site.figures())))
    other = site.start(dead, port=free_port())
    assert other.stop() == 0
    dead.status = 200
    eventually(lambda: len(dead.ids()) == 1_200, within_seconds=40)


@pytest.mark.broker
def test_a_topic_that_is_missing_is_said_and_waited_for(
    kafka: Broker, prefix: str, process: Processes, hooks: Callable[..., Hooks]
) -> None:
    site, to = Site(kafka, prefix, process), hooks()
    running = process("notify", settings=site.settings(to.url))
    eventually(lambda: "phonon-events topics create" in running.output)
    assert not answers(f"http://{LOOPBACK}:{site.port}/readyz")
    create_topics(read_settings(site.settings(to.url)))
    eventually(lambda: answers(f"http://{LOOPBACK}:{site.port}/readyz"), within_seconds=30)
    site.write((1, "FIRING"))
    eventually(lambda: to.ids() == {webhook_id(1)})


def test_a_kafka_that_is_away_is_said_and_does_not_keep_it_from_stopping(process: Processes) -> None:
    port = free_port()
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{free_port()}",
        "PHONON_MANAGEMENT_PORT": str(port),
        "PHONON_ALERT_WEBHOOK_URL": "http://127.0.0.1:1/",
    }
    running = process("notify", settings=settings, ready=f"http://{LOOPBACK}:{port}/healthz")
    eventually(lambda: "no answer from Kafka" in running.output)
    begun = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "PHONON_ALERT_WEBHOOK_URL is not set: there is nowhere to send alerts to"),
        ({"PHONON_ALERT_WEBHOOK_URL": "ftp://hooks/swordfish"}, "PHONON_ALERT_WEBHOOK_URL: expected http(s)://"),
        (
            {"PHONON_ALERT_WEBHOOK_URL": "http://hooks/ http://hooks..example/swordfish"},
            "PHONON_ALERT_WEBHOOK_URL: expected http(s)://",
        ),
        (
            {"PHONON_ALERT_WEBHOOK_URL": "http://hooks/", "PHONON_ALERT_WEBHOOK_SECRET": "swordfish!"},
            "PHONON_ALERT_WEBHOOK_SECRET: expected whsec_ and base64",
        ),
        (
            {"PHONON_ALERT_WEBHOOK_URL": "http://hooks/", "KAFKA_NO_SUCH_THING": "1"},
            'KAFKA_NO_SUCH_THING: No such configuration property: "no.such.thing"',
        ),
    ],
)
def test_wrong_settings_end_the_start_with_one_line(process: Processes, settings: dict[str, str], said: str) -> None:
    running = process("notify", settings=settings | {"PHONON_MANAGEMENT_PORT": str(free_port())})
    assert running.wait(20) == 2
    assert running.output.startswith(f"phonon-events: {said}")
    assert running.output.count("\n") == 1
    assert "swordfish" not in running.output


def test_a_management_port_that_is_taken_is_said_in_one_line(process: Processes, hooks: Callable[..., Hooks]) -> None:
    taken = hooks().url.split(":")[2].split("/")[0]
    settings = {"PHONON_ALERT_WEBHOOK_URL": "http://hooks/", "PHONON_MANAGEMENT_PORT": taken}
    running = process("notify", settings=settings)
    assert running.wait(20) == 1
    assert running.output == f"phonon-events: can't listen on {LOOPBACK}:{taken}: Address already in use\n"
