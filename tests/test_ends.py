"""How far the log reaches, asked of just enough of Kafka: one broker that can name none, fall silent, and hang up."""

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from app.demo.ports import LOOPBACK
from streams.ends import Ends
from tests.fake_kafka import API_VERSIONS, METADATA, TOPIC, FakeKafka, text

LIST_OFFSETS, END = 2, 7


class OneBroker(FakeKafka):
    """It says how far its log reaches."""

    apis = ((API_VERSIONS, 0, 0), (METADATA, 0, 1), (LIST_OFFSETS, 0, 1))

    def answer(self, key: int, asked: bytes) -> bytes:
        if key != LIST_OFFSETS:
            return super().answer(key, asked)
        partition = struct.unpack(">i", asked[-12:-8])[0]
        return struct.pack(">i", 1) + text(TOPIC) + struct.pack(">iihqq", 1, partition, 0, -1, END)


@pytest.fixture
async def kafka() -> AsyncIterator[FakeKafka]:
    fake = OneBroker()
    async with fake.started():
        yield fake


@pytest.fixture
async def ends(kafka: FakeKafka) -> AsyncIterator[Ends]:
    ends = Ends(TOPIC, {"bootstrap_servers": [f"{LOOPBACK}:{kafka.port}"]})
    yield ends
    ends.close()


async def found_again(ends: Ends) -> dict[int, int]:
    """What is found once anything is, asked once a second as the worker does."""
    for _ in range(10):
        if found := await ends.of([0, 1]):
            return found
        await asyncio.sleep(1)
    return {}


async def test_brokers_that_were_not_named_at_first_are_found(kafka: FakeKafka, ends: Ends) -> None:
    """A broker that is just back from a pause names none, and aiokafka asks nobody but those that were named."""
    kafka.named = False
    assert await ends.of([0, 1]) == {}
    kafka.named = True
    for connection in kafka.connections:
        connection.close()
    assert await found_again(ends) == {0: END, 1: END}


async def test_a_connection_on_which_nobody_answers_any_more_is_left(kafka: FakeKafka, ends: Ends) -> None:
    """A firewall forgets a connection without a word; TCP itself takes a quarter of an hour to notice."""
    assert await ends.of([0, 1]) == {0: END, 1: END}
    kafka.deaf = set(range(len(kafka.connections)))
    assert await ends.of([0, 1]) == {}
    assert await found_again(ends) == {0: END, 1: END}
