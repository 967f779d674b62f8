"""A flow topic under load, the workers on it, and the verdict: every DID's last metrics against a recount.

Nothing of `streams` is used here: flows go in through Kafka, metrics come out of it, workers are processes.
"""

import random
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from app.demo.child import Child
from app.demo.ports import free_port
from benchmarks.processes import figure
from schemas import decode, encode
from schemas.topics import TOPICS, topic_name
from tests.flow_oracle import MINUTE, Record, flow, mismatches
from tests.patience import eventually
from tests.processes import Processes, ask

PARTITIONS = 4
READ_WITHIN_SECONDS = 60.0  # a topic
ANSWERS_WITHIN_SECONDS = 3.0  # a management page
AGES_MS = (0, 2_000, 30_000, 5 * MINUTE - 20_000, 60 * MINUTE - 30_000, 23 * 60 * MINUTE)


class FlowTopic:
    """The topics of a prefix on one broker, and all flows ever sent there."""

    def __init__(self, servers: str, prefix: str, *, seed: int = 1) -> None:
        self.servers, self.prefix = servers, prefix
        self.rng, self.dids = random.Random(seed), 100
        self.sent: list[Record] = []
        self.log: list[tuple[bytes | None, bytes | None, int]] = []  # all that was put there: key, value, Kafka's time

    @cached_property
    def _producer(self) -> Producer:
        """In order and once, even where the broker crashes, so that another topic can be given the same."""
        return Producer({
            "bootstrap.servers": self.servers, "partitioner": "murmur2_random", "linger.ms": 5,
            "enable.idempotence": True,
        })  # fmt: skip

    def create(self, *names: str) -> None:
        """These topics, or all, and wait for them."""
        admin = AdminClient({"bootstrap.servers": self.servers})
        all_names = [topic_name(self.prefix, topic.record) for topic in TOPICS]
        topics = [NewTopic(name, PARTITIONS, 1) for name in names or all_names]
        for future in admin.create_topics(topics).values():
            future.result()

    def flows(self, number: int) -> list[Record]:
        """New flows of a few DIDs, now or some time ago: some leave a window while a test runs."""
        now = time.time_ns() // 1_000_000
        ages = [self.rng.choice(AGES_MS) for _ in range(number)]
        return [flow(self.rng, f"+9122436{self.rng.randrange(self.dids):05d}", now - age) for age in ages]

    def send(self, flows: list[Record]) -> None:
        """Put flows on the topic, some that were sent before along with them; returns before they are acknowledged."""
        self.sent += flows
        again = self.rng.sample(self.sent, min(len(self.sent), len(flows) // 20))
        for record in flows + again:
            self.put(record["did"].encode(), encode("Flow", record))

    def put(self, key: bytes | None, value: bytes | None, *, timestamp: int | None = None) -> None:
        """Put any bytes on the topic, with Kafka's timestamp now or as given."""
        stamp = time.time_ns() // 1_000_000 if timestamp is None else timestamp
        self.log.append((key, value, stamp))
        self._producer.produce(topic_name(self.prefix, "Flow"), key=key, value=value, timestamp=stamp)
        self._producer.poll(0)

    def send_in_transaction(self, flows: list[Record]) -> None:
        """Put flows on the topic as a mirror or a stream processor does; returns when they are committed."""
        producer = Producer({
            "bootstrap.servers": self.servers, "partitioner": "murmur2_random", "transactional.id": self.prefix,
        })  # fmt: skip
        producer.init_transactions(30)
        producer.begin_transaction()
        self.sent += flows
        for record in flows:
            producer.produce(topic_name(self.prefix, "Flow"), key=record["did"].encode(), value=encode("Flow", record))
        producer.commit_transaction(30)

    def cut_off(self) -> None:
        """Delete all that the topic holds, as retention does in time."""
        name = topic_name(self.prefix, "Flow")
        places = [TopicPartition(name, number, OFFSET_END) for number in range(PARTITIONS)]
        admin = AdminClient({"bootstrap.servers": self.servers})
        for future in admin.delete_records(places).values():
            future.result()

    def follow(self, other: "FlowTopic") -> None:
        """Copy what is new on another topic: the same bytes in the same order with the same timestamps."""
        for key, value, stamp in other.log[len(self.log) :]:
            self.put(key, value, timestamp=stamp)
        self.flush()

    def flush(self) -> None:
        """Wait for all acknowledgements."""
        assert self._producer.flush(60) == 0

    @contextmanager
    def traffic(self, rate: int, given: Iterator[list[Record]]) -> Iterator[None]:
        """So many flows a second, and as many of the lists given, until the block ends; acknowledged after it."""
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(0.1):
                self.send(self.flows(rate // 10) + [record for some in islice(given, rate // 10) for record in some])

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.flush()

    def read(self, record: str) -> list[tuple[Any, Record]]:
        """All records of a topic that are committed now, with their Kafka messages."""
        return [(message, decode(message.value())[1]) for message in self.messages(record)]

    def messages(self, record: str) -> list[Any]:
        """All messages of a topic that are committed now."""
        consumer = Consumer({
            "bootstrap.servers": self.servers, "group.id": str(uuid.uuid4()), "isolation.level": "read_committed",
            "auto.offset.reset": "earliest", "enable.auto.commit": False, "enable.partition.eof": True,
        })  # fmt: skip
        topic = topic_name(self.prefix, record)
        consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        read: list[Any] = []
        ended, end = set[Any](), time.monotonic() + READ_WITHIN_SECONDS
        while len(ended) < PARTITIONS:
            assert time.monotonic() < end, f"{topic}: read up to the end of partitions {ended} only"
            for message in consumer.consume(1000, timeout=0.2):
                error = message.error()
                if error is None:
                    read.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
        consumer.close()
        return read

    def latest(self) -> dict[str, Record]:
        """The last metrics of each DID, at rest; each on the partition of its flows."""
        return {message.key().decode(): metrics for message, metrics in self.read("DidMetrics")}

    def wrong(self, latest: dict[str, Record] | None = None) -> list[str]:
        """How the metrics, those at rest now if not given, differ from a recount of all that was sent."""
        return mismatches(self.sent, self.latest() if latest is None else latest)


class Workers:
    """Metrics workers on a prefix, by number, each with a management port that it keeps."""

    def __init__(self, process: Processes, topic: FlowTopic, folder: Path, **settings: str) -> None:
        self._process, self._folder = process, folder
        self._ports: dict[int, int] = {}
        self.running: dict[int, Child] = {}
        self._settings = {
            "KAFKA_BOOTSTRAP_SERVERS": topic.servers, "PHONON_TOPIC_PREFIX": topic.prefix,
            "PHONON_LOG_LEVEL": "info", **settings,
        }  # fmt: skip

    def start(self, number: int, *command: str) -> Child:
        """Start one, by default with `python -m streams`; it may take seconds until it is ready."""
        port = self._ports.setdefault(number, free_port())
        own = {"PHONON_MANAGEMENT_PORT": str(port), "PHONON_STATE_DIR": str(self._folder / f"state-{number}")}
        child = self._process.command(command or (sys.executable, "-m", "streams"), settings=self._settings | own)
        self.running[number] = child
        return child

    def page(self, number: int, path: str) -> tuple[int, str]:
        """Status and text of a management page; (0, why) while nobody answers."""
        try:
            return ask(self._ports[number], "GET", path, within_seconds=ANSWERS_WITHIN_SECONDS)
        except OSError as error:
            return 0, str(error)

    def figure(self, number: int, name: str) -> float:
        """The sum of a figure over its labels; nan while nobody answers."""
        address = f"http://127.0.0.1:{self._ports[number]}/metrics"
        return figure(address, name, within_seconds=ANSWERS_WITHIN_SECONDS)

    def wait_ready(self, *numbers: int, within_seconds: float = 30.0) -> None:
        """Wait until they say they are ready."""
        eventually(lambda: all(self.page(number, "/readyz")[0] == 200 for number in numbers), within_seconds)

    def wait_idle(self, within_seconds: float = 40.0) -> None:
        """Wait until all that run are ready, nothing is left to count and nothing to write."""
        time.sleep(1.5)  # a worker looks once a second how far the log reaches
        names = ("phonon_lag_records", "phonon_dids_waiting")
        self.wait_ready(*self.running, within_seconds=within_seconds)
        eventually(lambda: not any(self.figure(n, name) for n in self.running for name in names), within_seconds)
        time.sleep(1)  # what no longer waits may still be on its way, in a transaction
