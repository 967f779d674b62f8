"""Asks the receivers' management ports for their metrics, every LOOK_SECONDS; what they say is read in rates.py."""

import asyncio
import http.client
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from app.dashboard.rates import Receiver

LOOK_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 1.5
MOST_BYTES: Final = 4 * 1024 * 1024


async def watch(urls: Sequence[str], receivers: Sequence[Receiver]) -> None:
    """Keep what each receiver says up to date, for ever; one that hangs holds up no other."""
    await asyncio.gather(*map(_watch, urls, receivers))


async def _watch(url: str, receiver: Receiver) -> None:
    while True:
        look = asyncio.create_task(asyncio.to_thread(page, url))
        done, _ = await asyncio.wait({look}, timeout=2 * ANSWER_SECONDS)
        if not done:  # a slow look-up of its name, or a byte now and then: figures of before do not count
            receiver.add(time.monotonic(), None)
        receiver.add(time.monotonic(), await look)
        await asyncio.sleep(LOOK_SECONDS)


def page(url: str) -> str | None:
    """The text at an address; None if there is none to be had."""
    address = urlsplit(url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", address.path or "/metrics")
        reply = connection.getresponse()
        return reply.read(MOST_BYTES).decode("utf-8", "replace") if reply.status == http.client.OK else None
    except (OSError, ValueError, http.client.HTTPException):  # ValueError: of a host or path that can't be asked for
        return None
    finally:
        connection.close()
