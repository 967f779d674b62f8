"""The link passes on that a side is gone, too."""

import asyncio
import socket
import struct

from app.demo.ports import LOOPBACK
from benchmarks.link import linked


async def test_a_side_that_resets_its_connection_has_ended_it_for_the_other() -> None:
    """As a program that is killed does: what it was connected to must not stay open."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(10):
            pass
        ended.set()
        writer.close()

    async with await asyncio.start_server(serve, LOOPBACK, 0) as server:
        with linked(server.sockets[0].getsockname()[1]) as link:
            _, writer = await asyncio.open_connection(LOOPBACK, link.port)
            writer.write(b"begun")
            await asyncio.sleep(0.1)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            async with asyncio.timeout(2):
                await ended.wait()
