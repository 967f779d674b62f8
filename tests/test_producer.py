"""Several producers used as one: which takes what, and that no delivery waits for the partitions of others."""

import asyncio
import itertools
import os
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Any, cast

import pytest
from aiokafka.partitioner import murmur2

from app.demo.broker import Broker, jars
from app.demo.kafka_node import KafkaNode
from app.demo.ports import LOOPBACK, free_port
from app.outcomes import Unacknowledged
from app.producer import Producers, open_producers, producer_config
from app.publish import Publisher, needed_topics
from app.records import Record
from app.topics import create_topics
from benchmarks.link import Link, linked
from schemas.settings import Settings, read_settings
from tests.conftest import opened
from tests.fake_kafka import PARTITIONS, TOPIC, FakeKafka, text
from tests.patience import eventually

DIDS = [b"+9122%08d" % number for number in range(64)]
ROUND_TRIP_SECONDS = 0.45
STALL_SECONDS = 3.0


def settings_of(servers: str, prefix: str, **more: str) -> Settings:
    return read_settings({"KAFKA_BOOTSTRAP_SERVERS": servers, "PHONON_TOPIC_PREFIX": prefix, **more})


@pytest.mark.broker
@pytest.mark.parametrize("number", [1, 2, 4, 8])
def test_all_keys_of_a_partition_have_the_same_producer(number: int, kafka: Broker, prefix: str) -> None:
    settings = settings_of(kafka.bootstrap_servers, prefix, KAFKA_MESSAGE_TIMEOUT_MS="60000")
    create_topics(settings)
    producers = open_producers(producer_config(settings), number, {})
    found = set[tuple[int, Any]]()

    def acknowledged(error: Any, message: Any) -> None:
        assert error is None
        found.add((message.partition(), produce_of[message.key()]))

    produce_of = {did: producers.of(did) for did in DIDS}
    for did, produce in produce_of.items():
        produce(f"{prefix}.flow.v1", b"value", did, on_delivery=acknowledged)
    assert len(producers) == len(DIDS)
    assert producers.flush(60) == 0
    assert len(found) == settings.topic_partitions, "a partition has one"
    assert len(set(produce_of.values())) == number, "all have work"


def test_what_has_no_key_has_a_producer() -> None:
    producers = open_producers(producer_config(read_settings({})), 4, {})
    assert producers.of(None) == producers.of(None)
    assert producers.of(b"") in set(map(producers.of, DIDS))


def test_what_is_purged_of_all_is_purged_of_each_as_it_was_asked() -> None:
    """What is in flight and purged may be stored all the same: nobody would know."""

    class One:
        def __init__(self, _more: object) -> None:
            self.purged: list[tuple[bool, bool]] = []
            opened_ones.append(self)

        def purge(self, *, in_queue: bool = True, in_flight: bool = True) -> None:
            self.purged.append((in_queue, in_flight))

    opened_ones: list[One] = []
    Producers(cast(Any, One), 3).purge(in_queue=True, in_flight=False)
    assert [one.purged for one in opened_ones] == [[(True, False)]] * 3


class RefusesTheFirst(FakeKafka):
    """It refuses the first request to produce (not the leader), and takes the second, which came before the answer.

    So does Kafka with a producer that it does not know yet: it takes any sequence number first.
    """

    PRODUCE, INIT_PRODUCER_ID, NOT_LEADER = 0, 22, 6
    apis = (*FakeKafka.apis, (PRODUCE, 3, 7), (1, 4, 4), (INIT_PRODUCER_ID, 0, 1))

    def __init__(self) -> None:
        super().__init__()
        self.first: int | None = None
        self.came: asyncio.Event = asyncio.Event()

    def reply(self, writer: asyncio.StreamWriter, key: int, correlation: int, asked: bytes) -> None:
        if key == self.PRODUCE and not self.came.is_set():
            self.first = correlation
            self.came.set()
            return
        if key == self.PRODUCE and self.first is not None:
            self.send(writer, self.first, self.NOT_LEADER)
            self.first = None
        if key == self.PRODUCE:
            self.send(writer, correlation, 0)
        else:
            super().reply(writer, key, correlation, asked)

    def send(self, writer: asyncio.StreamWriter, correlation: int, error: int) -> None:
        answer = struct.pack(">ii", correlation, 1) + text(TOPIC)
        answer += struct.pack(">iihqqqi", 1, 0, error, -1 if error else 5, -1, 0, 0)
        writer.write(struct.pack(">i", len(answer)) + answer)

    def answer(self, key: int, asked: bytes) -> bytes:
        return struct.pack(">ihqh", 0, 0, 4711, 0) if key == self.INIT_PRODUCER_ID else super().answer(key, asked)


async def test_what_kafka_refused_is_not_acknowledged_though_what_came_behind_is() -> None:
    """librdkafka reports it as delivered, and sends it no more. Should this fail in its last line, that is mended."""
    kafka = RefusesTheFirst()
    async with kafka.started():
        settings = settings_of(f"{LOOPBACK}:{kafka.port}", "t")
        opened_ones = partial(open_producers, producer_config(settings), 1)
        publisher = Publisher(opened_ones, topics=frozenset({TOPIC}), stall_after=STALL_SECONDS)
        await publisher.start()
        key = next(key for key in DIDS if murmur2(key) % PARTITIONS == 0)
        first = asyncio.ensure_future(publisher.publish([Record(TOPIC, key, b"first", [])]))
        await asyncio.wait_for(kafka.came.wait(), 5)
        second = asyncio.ensure_future(publisher.publish([Record(TOPIC, key, b"second", [])]))
        with pytest.raises(Unacknowledged, match="_NO_OFFSET"):
            await first
        await asyncio.wait([second])
        await publisher.stop()


def test_who_knows_no_broker_is_lost_once_that_was_told() -> None:
    producers = open_producers(producer_config(settings_of(f"{LOOPBACK}:9", "t")), 2, {})
    assert not producers.lost(), "nothing was told yet"
    eventually(lambda: producers.poll(0) or all(producers._told))
    assert not producers.lost(), "a broker of the settings is known, though it is away"
    producers._told[1] = '{"brokers": {}}'
    assert producers.lost()


@pytest.mark.broker
def test_what_waits_is_told_of_all_and_each_broker_once(kafka: Broker, prefix: str) -> None:
    settings = settings_of(kafka.bootstrap_servers, prefix, KAFKA_LINGER_MS="60000", KAFKA_MESSAGE_TIMEOUT_MS="90000")
    create_topics(settings)
    producers = open_producers(producer_config(settings), 4, {})
    assert producers.statistics() == (0, 0, 0)
    for did in DIDS:
        producers.of(did)(f"{prefix}.flow.v1", b"value", did)

    def told() -> tuple[int, int, int]:
        producers.poll(0)
        return producers.statistics()

    eventually(lambda: told()[0] == len(DIDS))
    _, size, brokers = told()
    assert size >= len(DIDS) * len(b"value")
    assert brokers == 1
    producers.purge(in_queue=True, in_flight=False)
    assert producers.flush(20) == 0


@pytest.fixture
def far_kafka() -> Iterator[tuple[KafkaNode, Link]]:
    """A broker, and the link behind which it is far away."""
    with ExitStack() as stack:
        port = free_port()
        link = stack.enter_context(linked(port))
        yield opened(stack, jars(os.environ, print, port=port, advertised=link.port)), link


def of_each_did(settings: Settings) -> list[list[Record]]:
    """A delivery of each DID, with a record for each topic."""
    topics = sorted(needed_topics(settings.topic_prefix))
    return [[Record(topic, did, b"value", []) for topic in topics] for did in DIDS]


@asynccontextmanager
async def connected(link: Link, settings: Settings, producers: int, stall_after: float) -> AsyncIterator[Publisher]:
    """A publisher that knew Kafka when it was near, and now it is far away."""
    publisher = Publisher(
        partial(open_producers, producer_config(settings), producers),
        topics=needed_topics(settings.topic_prefix),
        stall_after=stall_after,
    )
    link.round_trip = 0.0
    await publisher.start()
    outcomes: list[Any] = []
    while outcomes != [None] * len(DIDS):
        outcomes = await asyncio.gather(*map(publisher.publish, of_each_did(settings)), return_exceptions=True)
    link.round_trip = ROUND_TRIP_SECONDS
    yield publisher
    await publisher.stop()


async def at_once(link: Link, settings: Settings, producers: int) -> list[Any]:
    """One delivery of each DID, all at once: what becomes of them."""
    async with connected(link, settings, producers, STALL_SECONDS) as publisher:
        return await asyncio.gather(*map(publisher.publish, of_each_did(settings)), return_exceptions=True)


@pytest.mark.broker
async def test_a_kafka_that_is_far_away_is_not_taken_for_one_that_is_down(far_kafka: tuple[KafkaNode, Link]) -> None:
    """One producer needs 13 round trips for deliveries of many DIDs, longer than messages may take (5 s); four need 4.

    Should it ever do that in time, librdkafka sends several partitions a request: one producer is enough then.
    """
    kafka, link = far_kafka
    settings = settings_of(f"127.0.0.1:{link.port}", "far")
    await asyncio.to_thread(create_topics, settings_of(kafka.bootstrap_servers, "far"))
    assert {*map(type, await at_once(link, settings, 1))} >= {Unacknowledged}
    assert await at_once(link, settings, settings.producers) == [None] * len(DIDS)


@pytest.mark.broker
async def test_a_kafka_that_is_too_slow_for_live_deliveries_gets_what_was_spooled(
    far_kafka: tuple[KafkaNode, Link],
) -> None:
    """Live ones try all the time, and are late: what was spooled was given back with each, and never arrived."""
    kafka, link = far_kafka
    settings = settings_of(f"127.0.0.1:{link.port}", "slow")
    await asyncio.to_thread(create_topics, settings_of(kafka.bootstrap_servers, "slow"))
    spooled, refused = of_each_did(settings), 0
    async with connected(link, settings, settings.producers, ROUND_TRIP_SECONDS) as publisher:

        async def live() -> None:
            nonlocal refused
            for delivery in itertools.cycle(of_each_did(settings)):
                try:
                    await publisher.publish(delivery)
                except Unacknowledged:
                    refused += 1
                await asyncio.sleep(0.02)

        lives = asyncio.create_task(live())
        async with asyncio.timeout(60):
            while spooled:
                outcomes = await asyncio.gather(
                    *(publisher.publish(delivery, live=False) for delivery in spooled), return_exceptions=True
                )
                spooled = [delivery for delivery, outcome in zip(spooled, outcomes, strict=True) if outcome]
                await asyncio.sleep(0.2)
        lives.cancel()
    assert refused
