"""Just enough of Kafka's protocol for what no real broker can be made to do on time: one that leads one topic."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.demo.ports import LOOPBACK

API_VERSIONS, METADATA = 18, 3
UNSUPPORTED_VERSION = 35
TOPIC, PARTITIONS = "t.flow.v1", 2


def text(said: str) -> bytes:
    return struct.pack(">h", len(said)) + said.encode()


class FakeKafka:
    """ApiVersions 0 and Metadata 1; subclasses answer more."""

    apis: tuple[tuple[int, int, int], ...] = ((API_VERSIONS, 0, 0), (METADATA, 0, 1))

    def __init__(self) -> None:
        self.named = True  # whether it names itself as a broker
        self.deaf: set[int] = set()  # connections on which it says nothing more
        self.connections: list[asyncio.StreamWriter] = []
        self.port = 0

    @asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        """It listens for as long as the block runs."""
        server = await asyncio.start_server(self.serve, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        yield
        server.close()
        for connection in self.connections:
            connection.close()

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
                    self.reply(writer, key, correlation, asked)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def reply(self, writer: asyncio.StreamWriter, key: int, correlation: int, asked: bytes) -> None:
        """Send an answer."""
        answer = struct.pack(">i", correlation) + self.answer(key, asked)
        writer.write(struct.pack(">i", len(answer)) + answer)

    def answer(self, key: int, asked: bytes) -> bytes:
        """The body of an answer."""
        if key == API_VERSIONS:
            [version] = struct.unpack(">h", asked[2:4])
            head = struct.pack(">hi", UNSUPPORTED_VERSION if version else 0, len(self.apis))
            return head + b"".join(struct.pack(">hhh", *one) for one in self.apis)
        me = struct.pack(">i", 1) + text(LOOPBACK) + struct.pack(">ih", self.port, -1)
        partitions = b"".join(struct.pack(">hiiiiii", 0, number, 1, 1, 1, 1, 1) for number in range(PARTITIONS))
        brokers = struct.pack(">i", 1) + me if self.named else struct.pack(">i", 0)
        return brokers + struct.pack(">iih", 1, 1, 0) + text(TOPIC) + b"\0" + struct.pack(">i", PARTITIONS) + partitions
