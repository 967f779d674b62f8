"""The oracle of the fault tests: every 2xx is an obligation, and afterwards each one is looked up in Kafka.

It sends deliveries at a steady rate whatever the receiver does (an open loop, like the provider), sends again what was
not taken, and now and then what was, in other words. It knows how many events of each kind a delivery must cause. It
uses nothing of `app`, and of `schemas` only the codec.
"""

import asyncio
import json
import math
import random
import ssl
import time
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from app.cluster import Errors, ask
from schemas import decode

EVENTS = {"CallLeg": 2, "Dtmf": 3, "Sms": 1, "Email": 1, "FlowKey": 2, "Recording": 1, "Flow": 1}
CONNECTIONS = 64
RETRY_SECONDS = 0.5
GIVE_UP_SECONDS = 15.0
HUNG_SECONDS = 30.0


@dataclass
class Phase:
    """What one phase saw: answers by status, and how long each took.

    "lost" is where the connection broke, "hung" where nothing came. `late_seconds` is how far the load fell behind its
    own rate: what this process and its machine add to an answer.
    """

    name: str
    answers: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    late_seconds: float = 0.0
    drain_seconds: float = 0.0
    in_kafka_in_a_row: int = 0
    took: defaultdict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def note(self, status: str, asked: float, seconds: float) -> None:
        """An answer: when it was asked for (monotonic), and how long it took."""
        self.answers[status] += 1
        self.in_kafka_in_a_row = self.in_kafka_in_a_row + 1 if status == "200" else 0
        if status != "lost":
            self.slowest_seconds = max(self.slowest_seconds, seconds)
        self.took[status].append((asked, seconds))

    def seconds(self, status: str, since: float = 0.0, until: float = math.inf) -> list[float]:
        """How long such answers took to what was asked in that time, the quickest first."""
        return sorted(seconds for asked, seconds in self.took[status] if since <= asked <= until)

    def line(self) -> str:
        counts = " ".join(f"{status}:{number}" for status, number in sorted(self.answers.items()))
        slowest = f"slowest {self.slowest_seconds:.3f} s (load late by {self.late_seconds:.3f} s)"
        return f"{self.name:34} {counts:40} {slowest}  drained in {self.drain_seconds:.1f} s"


@dataclass
class Delivery:
    """One flow, its document, and whether anyone ever said that it is stored."""

    flow_id: str
    document: dict[str, Any]
    acknowledged: bool = False


@dataclass
class Verdict:
    """What the topics hold of what was sent."""

    obligations: int
    losses: list[str]
    strangers: list[str]
    wrong: list[str]
    records: int
    duplicates: int

    def line(self) -> str:
        return (
            f"{self.obligations} obligations, {len(self.losses)} losses, {len(self.strangers)} strangers, "
            f"{len(self.wrong)} with other ids, {self.records} records, {self.duplicates} duplicates by event_id"
        )


class Oracle:
    """Sends, remembers, and judges."""

    def __init__(self, port: int, *, seed: int, rate: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self._tls = tls
        self.phases: list[Phase] = []
        self._random = random.Random(seed)
        self._rate = rate
        self._sent: dict[str, Delivery] = {}
        self._idle: deque[Connection] = deque()

    @asynccontextmanager
    async def phase(self, name: str) -> AsyncIterator[Phase]:
        """Load for as long as the block runs; at its end everything sent has been answered or given up."""
        phase = Phase(name)
        self.phases.append(phase)
        stop = asyncio.Event()
        load = asyncio.create_task(self._load(phase, stop))
        try:
            yield phase
        finally:
            stop.set()
            await load

    def forget_connections(self) -> None:
        """The receiver they led to is gone."""
        while self._idle:
            self._idle.pop().close()

    async def one(self, phase: Phase) -> str:
        """Send one fresh delivery; its status."""
        return await self._send(self._fresh(), phase)

    async def _load(self, phase: Phase, stop: asyncio.Event) -> None:
        began, count = time.monotonic(), 0
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                group.create_task(self._until_taken(self._fresh(), phase, stop))
                count += 1
                ahead = began + count / self._rate - time.monotonic()
                phase.late_seconds = max(phase.late_seconds, -ahead)
                await asyncio.sleep(max(ahead, 0))

    async def _until_taken(self, delivery: Delivery, phase: Phase, stop: asyncio.Event) -> None:
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while not (await self._send(delivery, phase)).startswith("2"):
            if stop.is_set() or time.monotonic() > give_up:
                return
            await asyncio.sleep(RETRY_SECONDS * (1 + self._random.random()))
        if self._random.random() < 0.03:
            await self._send(delivery, phase)

    def _fresh(self) -> Delivery:
        flow_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        delivery = Delivery(flow_id, _document(flow_id, self._random))
        self._sent[flow_id] = delivery
        return delivery

    async def _send(self, delivery: Delivery, phase: Phase) -> str:
        began = time.monotonic()
        connection = self._idle.popleft() if self._idle else Connection(self.port, self._tls)
        try:
            async with asyncio.timeout(HUNG_SECONDS):
                status = str(await connection.post(self._worded(delivery.document)))
            if len(self._idle) < CONNECTIONS and connection.open:
                self._idle.append(connection)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            status = "hung" if isinstance(error, TimeoutError) else "lost"
            connection.close()
        phase.note(status, began, time.monotonic() - began)
        delivery.acknowledged |= status.startswith("2")
        return status

    def _worded(self, document: dict[str, Any]) -> bytes:
        """The same document in other words: other key order, other white space, wrapped or bare."""
        items = list(document.items())
        self._random.shuffle(items)
        shuffled: dict[str, Any] = dict(items)
        wrapped = {"body": shuffled} if self._random.random() < 0.5 else shuffled
        return json.dumps(wrapped, indent=self._random.choice((None, None, 1))).encode()

    def judge(self, bootstrap_servers: str, prefix: str) -> Verdict:
        """Read all topics and compare."""
        found: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        records = distinct = 0
        for record, value in read_all(bootstrap_servers, prefix):
            records += 1
            found[value["flow_id"]][record].add(value["event_id"])
        for kinds in found.values():
            distinct += sum(map(len, kinds.values()))
        owed = [delivery.flow_id for delivery in self._sent.values() if delivery.acknowledged]
        counts = {flow_id: {kind: len(ids) for kind, ids in kinds.items()} for flow_id, kinds in found.items()}
        return Verdict(
            obligations=len(owed),
            losses=[f"{id_}: {lacks}" for id_ in owed if (lacks := _lacks(counts.get(id_, {})))],
            strangers=[id_ for id_ in found if id_ not in self._sent],
            wrong=[id_ for id_, kinds in counts.items() if any(n > EVENTS[k] for k, n in kinds.items())],
            records=records,
            duplicates=records - distinct,
        )


def _lacks(counts: dict[str, int]) -> dict[str, int]:
    """How many events of each kind are not there."""
    return {kind: number - counts.get(kind, 0) for kind, number in EVENTS.items() if counts.get(kind, 0) < number}


class Connection:
    """One kept connection."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._port, self._tls = port, tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def open(self) -> bool:
        return self._streams is not None

    async def post(self, body: bytes) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls)
        reader, writer = self._streams
        writer.write(b"POST /webhooks/phonon HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        if b"connection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def read_all(bootstrap_servers: str, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every record of the prefix's event topics up to now."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "oracle", "enable.auto.commit": False})
    with closing(consumer):
        topics = consumer.list_topics(timeout=10).topics
        ends: dict[tuple[str, int], int] = {}
        for topic in topics:
            if topic.startswith(prefix + ".") and not topic.endswith((".did-metrics.v1", ".rejected.v1")):
                for partition in topics[topic].partitions:
                    marks = partial(consumer.get_watermark_offsets, TopicPartition(topic, partition), timeout=10)
                    _, ends[topic, partition] = ask(consumer, Errors(bootstrap_servers), marks)
        left = {place: end for place, end in ends.items() if end > 0}
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in left])
        while left:
            messages = consumer.consume(2000, timeout=5)
            assert messages, f"the topics ended before their end: {left}"
            for message in messages:
                assert message.error() is None, message.error()
                yield decode(message.value())
                place = (message.topic() or "", message.partition() or 0)
                if (message.offset() or 0) + 1 >= left.get(place, 0):
                    left.pop(place, None)


def _document(flow_id: str, chance: random.Random) -> dict[str, Any]:
    """A delivery that causes EVENTS: two legs, three presses, an SMS, an e-mail, two keys, a recording, a flow."""
    did = f"9122436929{chance.randrange(100):02d}"
    leg = {
        "didNumber": did,
        "incoming": True,
        "startTime": "2026-11-22T10:00:00.0Z",
        "endTime": "2026-11-22T10:02:00.0Z",
        "connectTime": "2026-11-22T10:00:10.0Z",
        "duration": "110000",
        "hangupCause": "16",
        "calleeNumber": f"+9198{chance.randrange(10**8):08d}",
    }
    presses = [{"key": key, "eventTime": "2026-11-22T10:01:00.0Z"} for key in "112"]
    return {
        "phonon-uuid": flow_id,
        "callDetails": [
            leg | {"cdrId": "1", "calleeType": "VISITOR", "dtmfPressesd": presses},
            leg | {"cdrId": "2", "calleeType": "HARD_PHONE"},
        ],
        "smsDetails": [{"id": "s1", "text": "thank you", "to": "+919812345678", "deliveryStatus": "SENT"}],
        "emailDetails": [{"id": "e1", "subject": "hello", "content": "x" * 200, "addresses": []}],
        "keys": [{"name": "city", "value": "Pune"}, {"name": "plan", "value": str(chance.random())}],
        "recordingUrls": [{"recordedFileName": "r.mp3", "recordedFilePublicPath": "https://r.example/r.mp3"}],
    }
