"""A load generator that costs little: raw asyncio connections, requests made ahead, answers read just far enough.

    python -m benchmarks.load --port 8080 --connections 64 --seconds 5 [--rate 300] [--secret whsec_...]
        [--dids 1] [--rows 0] [--close]

Closed loop (no rate): every connection posts again as soon as it was answered. Open loop: deliveries start at their
times whatever the receiver does, and each is timed from when it should have started (no coordinated omission). Every
delivery is the provider's sample with a uuid of its own, signed; with --dids one of that many numbers, with --rows that
many legs and nothing else, with --close on a connection of its own. Prints one line of JSON. Times are the performance
counter's: uvloop's own clock counts whole ms.
"""

import argparse
import asyncio
import hmac
import itertools
import json
import random
import time
import uuid
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

SAMPLE = Path(__file__).parent.parent / "tests" / "deliveries" / "sample.json"
PATH = "/webhooks/phonon"
DID = b"912243692987"
GRACE_SECONDS = 30.0


def sample_body(rows: int = 0) -> bytes:
    """The provider's sample as it is sent, without white space; or that many legs like its first."""
    document = json.loads(SAMPLE.read_bytes())
    if rows:
        flow, leg = document["body"]["phonon-uuid"], document["body"]["callDetails"][0]
        legs = [{**leg, "cdrId": f"{leg['cdrId']}-{n}"} for n in range(rows)]
        document["body"] = {"phonon-uuid": flow, "callDetails": legs}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def requests(options: argparse.Namespace) -> Iterator[bytes]:
    """Requests without end, each with its own uuid."""
    body = sample_body(options.rows)
    old = json.loads(body)["body"]["phonon-uuid"].encode()
    key = b64decode(options.secret.removeprefix("whsec_")) if options.secret else None
    rng = random.Random(options.seed)
    head = f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body)}\r\n" + ("connection: close\r\n" if options.close else "")
    plain = head.encode()
    for number in itertools.count():
        own = body.replace(old, str(uuid.UUID(int=rng.getrandbits(128), version=4)).encode())
        if options.dids > 1:
            own = own.replace(DID, b"9122%08d" % (43_000_000 + rng.randrange(options.dids)))
        yield plain + (_signed(key, b"msg_%d_%d" % (options.seed, number), own) if key else b"") + b"\r\n" + own


def _signed(key: bytes, message_id: bytes, body: bytes) -> bytes:
    stamp = b"%d" % time.time()
    signature = b64encode(hmac.digest(key, b".".join((message_id, stamp, body)), "sha256"))
    return b"webhook-id: %b\r\nwebhook-timestamp: %b\r\nwebhook-signature: v1,%b\r\n" % (message_id, stamp, signature)


@dataclass
class Tally:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def add(self, status: int, seconds: float) -> None:
        """Count one answer."""
        self.statuses[status] += 1
        self.seconds.append(seconds)

    def figures(self, elapsed: float) -> dict[str, object]:
        """Everything as JSON values; times in ms."""
        ordered = sorted(self.seconds)
        at = {f"p{q:g}": round(1000 * ordered[int(len(ordered) * q / 100)], 2) for q in (50, 90, 99)} if ordered else {}
        slowest = {"slowest": round(1000 * ordered[-1], 2)} if ordered else {}
        return {"deliveries": len(ordered), "statuses": self.statuses, "seconds": elapsed, **at, **slowest}


class Connection(asyncio.Protocol):
    """One connection: posts, and calls back with the status of each answer (0: the connection broke)."""

    def __init__(self, answered: "Callable[[Connection, int], None]") -> None:
        self.transport: asyncio.Transport | None = None
        self.begun = 0.0
        self._answered = answered
        self._buffer = b""
        self._busy = False

    @property
    def open(self) -> bool:
        """Whether it can be used."""
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def post(self, request: bytes, begun: float) -> None:
        """Send; the connection must be idle."""
        assert self.transport is not None
        self.begun, self._busy = begun, True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Read as far as the end of one answer."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.lower().find(b"content-length:", 0, head)
        length = int(self._buffer[at + 15 : self._buffer.find(b"\r\n", at)]) if at >= 0 else 0
        if len(self._buffer) >= head + 4 + length:
            status, self._buffer, self._busy = int(self._buffer[9:12]), b"", False
            self._answered(self, status)

    def connection_lost(self, _error: Exception | None) -> None:
        """An answer that was awaited will not come."""
        if self._busy:
            self._busy = False
            self._answered(self, 0)


async def closed_loop(options: argparse.Namespace, source: Iterator[bytes]) -> Tally:
    """Every connection posts as fast as it is answered; with --close the next request opens another one."""
    loop, tally = asyncio.get_running_loop(), Tally()
    end, left = time.perf_counter() + options.seconds, options.connections
    all_done: asyncio.Future[None] = loop.create_future()
    opening: set[asyncio.Task[None]] = set()

    async def begin() -> None:
        begun = time.perf_counter()
        _, connection = await loop.create_connection(lambda: Connection(answered), "127.0.0.1", options.port)
        connection.post(next(source), begun)

    def answered(connection: Connection, status: int) -> None:
        nonlocal left
        now = time.perf_counter()
        tally.add(status, now - connection.begun)
        if now < end and options.close:
            opening.add(task := loop.create_task(begin()))
            task.add_done_callback(opening.discard)
            return
        if now < end and connection.open:
            connection.post(next(source), now)
            return
        if connection.transport:
            connection.transport.close()
        left -= 1
        if not left:
            all_done.set_result(None)

    for _ in range(options.connections):
        await begin()
    await asyncio.wait_for(all_done, options.seconds + GRACE_SECONDS)
    return tally


async def open_loop(port: int, rate: float, seconds: float, source: Iterator[bytes]) -> Tally:
    """Deliveries start at their times, on idle connections as long as there are any."""
    loop, tally, idle = asyncio.get_running_loop(), Tally(), list[Connection]()
    total = round(rate * seconds)
    all_done: asyncio.Future[None] = loop.create_future()

    def answered(connection: Connection, status: int) -> None:
        tally.add(status, time.perf_counter() - connection.begun)
        if connection.open:
            idle.append(connection)
        if len(tally.seconds) == total:
            all_done.set_result(None)

    async def post(due: float) -> None:
        while idle:
            connection = idle.pop()
            if connection.open:
                break
        else:
            _, connection = await loop.create_connection(lambda: Connection(answered), "127.0.0.1", port)
        connection.post(next(source), due)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as posts:
        for number in range(total):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            posts.create_task(post(due))
    await asyncio.wait_for(all_done, GRACE_SECONDS)
    return tally


async def run(options: argparse.Namespace) -> dict[str, object]:
    """The load that the options ask for."""
    source = requests(options)
    begun = time.monotonic()
    if options.rate:
        tally = await open_loop(options.port, options.rate, options.seconds, source)
    else:
        tally = await closed_loop(options, source)
    return tally.figures(time.monotonic() - begun)


def main() -> None:
    """Run and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--secret")
    parser.add_argument("--dids", type=int, default=1)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--close", action="store_true")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(30))
    print(json.dumps(uvloop.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
