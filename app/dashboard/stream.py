"""The streams of the open pages: each pulls what changed since it last sent, at most TICKS_PER_SECOND times a second.

There is no queue for a page, so there is none to bound: while a browser does not read, its stream waits in `send`, and
what it gets next is every DID that changed meanwhile, once; after MISSED_SAMPLES a snapshot instead. Pages that keep
up ask for the same revisions, and share the bytes; so do those that come at the same moment, as all do when the server
was started again. Bytes go out in pieces: what a transport holds for a page that does not read is one of them,
where a snapshot of 50,000 DIDs takes 16 MB.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, NamedTuple

from app.dashboard import messages
from app.dashboard.state import State

TICKS_PER_SECOND: Final = 3
STATUS_SECONDS: Final = 1.0
MISSED_SAMPLES: Final = 2
MOST_STREAMS: Final = 200
PIECE_BYTES: Final = 65_536


class Seen(NamedTuple):
    """How far a page is."""

    epoch: int
    revision: int
    samples: int


class Streams:
    """All open streams over one state. `status` says how things stand, as the page's status event."""

    def __init__(self, state: State, status: Callable[[], dict[str, Any]]) -> None:
        self.state = state
        self.open = 0
        self.stopping = False
        self._status = status
        self._last: tuple[tuple[Seen, Seen] | None, bytes] = (None, b"")
        self._snapshot: tuple[Seen | None, bytes] = (None, b"")

    @property
    def full(self) -> bool:
        """Whether another page would be one too many."""
        return self.open >= MOST_STREAMS

    async def stream(self) -> AsyncIterator[bytes]:
        """The events of one page, until it goes or we stop."""
        self.open += 1
        try:
            seen, told = None, 0.0
            yield messages.RETRY + messages.HEARTBEAT
            while not self.stopping:
                now, sent, status = self._now(), b"", b""
                if seen != now:
                    sent, seen = self.since(seen, now), now
                if time.monotonic() - told >= STATUS_SECONDS:
                    status, told = messages.event("status", self._status()), time.monotonic()
                for piece in pieces(sent, status):
                    yield piece
                await tick()
        finally:
            self.open -= 1

    def since(self, seen: Seen | None, now: Seen) -> bytes:
        """The events that bring a page from there to now."""
        if seen is None or seen.epoch != now.epoch or now.samples - seen.samples >= MISSED_SAMPLES:
            if self._snapshot[0] != now:
                self._snapshot = (now, messages.snapshot(self.state))
            return self._snapshot[1]
        if self._last[0] != (seen, now):
            self._last = ((seen, now), self._made(seen, now))
        return self._last[1]

    def _made(self, seen: Seen, now: Seen) -> bytes:
        rows = self.state.changes(seen.revision)
        made = messages.changes(self.state, rows) if rows else b""
        if episodes := self.state.alerts.changes(seen.revision):
            made += messages.alerts(episodes)
        return made + (messages.sample() if now.samples > seen.samples else b"")

    def _now(self) -> Seen:
        return Seen(self.state.epoch, self.state.revision, self.state.samples)


def pieces(sent: bytes, status: bytes) -> Iterator[bytes]:
    """What is sent at once, in pieces; the status goes with the last."""
    whole = len(sent) - len(sent) % PIECE_BYTES
    for at in range(0, whole, PIECE_BYTES):
        yield sent[at : at + PIECE_BYTES]
    if rest := sent[whole:] + status:
        yield rest


async def tick() -> None:
    """Wait for the next tick, the same for all."""
    now = asyncio.get_running_loop().time()
    await asyncio.sleep(1 / TICKS_PER_SECOND - now % (1 / TICKS_PER_SECOND) + 0.001)
