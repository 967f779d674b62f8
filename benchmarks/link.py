"""A link of a given round trip in front of a local port: all that comes is passed on, that much later.

For a broker that is far away, or whose replicas are: on loopback an acknowledgement takes a millisecond, in a cluster 5
to 50. The broker must advertise the link's port: `jars(..., port=..., advertised=...)`.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from app.demo.ports import LOOPBACK, free_port

CHUNK_BYTES = 1 << 18


class Link:
    """Where it listens, and the seconds that it takes there and back: they may be changed while it runs."""

    def __init__(self, to: int) -> None:
        self.port, self.round_trip = free_port(), 0.0
        self._to = to
        self._listens, self._ended = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def start(self) -> None:
        """Listen, on a thread of its own."""
        self._thread.start()
        self._listens.wait()

    def stop(self) -> None:
        """Break all connections."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with await asyncio.start_server(self._accepted, LOOPBACK, self.port):
            self._listens.set()
            await self._ended.wait()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            back, there = await asyncio.open_connection(LOOPBACK, self._to)
            await asyncio.gather(self._carry(reader, there), self._carry(back, writer))
        writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, under_way = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

        async def arrive() -> None:
            while True:
                at, data = await under_way.get()
                await asyncio.sleep(at - loop.time())
                if not data:
                    return writer.close()
                writer.write(data)

        async with asyncio.TaskGroup() as both:
            both.create_task(arrive())
            data = b"a beginning"
            while data:
                try:
                    data = await reader.read(CHUNK_BYTES)
                except OSError:  # reset: for the other side an end
                    data = b""
                under_way.put_nowait((loop.time() + self.round_trip / 2, data))


@contextmanager
def linked(to: int) -> Iterator[Link]:
    """A link to that port while the block runs."""
    link = Link(to)
    link.start()
    try:
        yield link
    finally:
        link.stop()
