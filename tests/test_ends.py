"""How far the log reaches, asked of just enough of Kafka: one broker that can name none, fall silent, and hang up."""

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from app.demo.ports import LOOPBACK
from streams.ends import Ends

API_VERSIONS, METADATA, LIST_OFFSETS = 18, 3, 2
TOPIC, END = "t.flow.v1", 7


def text(said: str) -> bytes:
    return struct.pack(">h", len(said)) + said.encode()


class FakeKafka:
    """ApiVersions 0, Metadata 1 and ListOffsets 1 for one topic of two partitions that lead from here."""

    def __init__(self) -> None:
        self.named = True  # whether it names itself as a broker
        self.deaf: set[int] = set()  # connections on which it says nothing more
        self.connections: list[asyncio.StreamWriter] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what is asked on a connection."""
        number = len(self.connections)
        self.connections.append(writer)
        try:
            while True:
                [size] = struct.unpack(">i", await reader.readexactly(4))
                asked = await reader.readexactly(size)
                key, _, correlation = struct.unpack(">hhi", asked[:8])
                if number not in self.deaf:
                    answer = struct.pack(">i", correlation) + self.answer(key, asked)
                    writer.write(struct.pack(">i", len(answer)) + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def answer(self, key: int, asked: bytes) -> bytes:
        """The body of an answer."""
        if key == API_VERSIONS:
            known = ((API_VERSIONS, 0, 0), (METADATA, 0, 1), (LIST_OFFSETS, 0, 1))
            return struct.pack(">hi", 0, len(known)) + b"".join(struct.pack(">hhh", *one) for one in known)
        if key == METADATA:
            me = struct.pack(">i", 1) + text(LOOPBACK) + struct.pack(">ih", self.port, -1)
            partitions = b"".join(struct.pack(">hiiiiii", 0, number, 1, 1, 1, 1, 1) for number in range(2))
            brokers = struct.pack(">i", 1) + me if self.named else struct.pack(">i", 0)
            head = struct.pack(">iih", 1, 1, 0) + text(TOPIC) + b"\0" + struct.pack(">i", 2)
            return brokers + head + partitions
        partition = struct.unpack(">i", asked[-12:-8])[0]
        return struct.pack(">i", 1) + text(TOPIC) + struct.pack(">iihqq", 1, partition, 0, -1, END)


@pytest.fixture
async def kafka() -> AsyncIterator[FakeKafka]:
    fake = FakeKafka()
    server = await asyncio.start_server(fake.serve, LOOPBACK, 0)
    fake.port = server.sockets[0].getsockname()[1]
    yield fake
    server.close()
    for connection in fake.connections:
        connection.close()


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
