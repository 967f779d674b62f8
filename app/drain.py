"""What waits in the spool goes to Kafka: oldest first, at a bounded rate, by one process for each spool.

A row is marked as sent only after all its acknowledgements. While Kafka is only being tried, one row goes first, alone.
Then so many go at once as the rate allows in the time that Kafka takes for them: one that is far away, or slow, drains
as fast. A row that can't be read any more, or that Kafka refuses for good, is set aside and keeps nobody waiting.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from app.metrics import Metrics
from app.outcomes import Publishes, State, Unacknowledged, Unpublishable, Waiting
from app.pipeline import Made, Pipeline
from app.segment import Row

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 0.2
OTHER_DRAINS_SECONDS: Final = 1.0
AT_ONCE: Final = 64  # as a rule
MOST_AT_ONCE: Final = 512
MOST_BYTES_AT_ONCE: Final = 8 << 20


class Gives(Protocol):
    """As much of a spool as a drainer needs; all of it blocks."""

    def acquire(self) -> bool:
        """Become the one drainer of the spool, or learn that another process is it."""

    def release(self) -> None:
        """Let another process drain."""

    def waiting(self) -> Iterator[Waiting]:
        """The rows that wait, oldest first."""

    def mark_sent(self, sent: Sequence[Waiting]) -> None:
        """These rows are in Kafka."""

    def set_aside(self, waiting: Waiting) -> None:
        """Keep a row that can't be published where it is in nobody's way."""

    def sweep(self) -> int:
        """Delete what is done with; the number of damages found in it."""


@dataclass(slots=True, kw_only=True)
class Drainer:
    """Drains one spool through one publisher."""

    outlet: Gives
    pipeline: Pipeline
    publisher: Publishes
    metrics: Metrics
    rate: int
    progress: Callable[[int], None] = lambda _rows: None
    _turns: asyncio.Lock = field(default_factory=asyncio.Lock)
    _said: str = ""
    _answer_seconds: float = 0.0  # that Kafka took for the last row

    async def run(self) -> None:
        """Drain for ever."""
        try:
            while True:
                try:
                    pause = await self._turn()
                    self._said = ""
                except Exception as error:  # noqa: BLE001 - nobody else would ever drain again
                    pause = OTHER_DRAINS_SECONDS
                    self.outlet.release()  # a disk that takes no marks gives no lock either: else all is sent each time
                    self._note(error)
                await asyncio.sleep(pause)
        finally:
            self.outlet.release()

    def _note(self, error: Exception) -> None:
        """A disk that fails is told once, by what it says, and not every second with our traceback."""
        self.metrics.count("phonon_failures_total", "drain")
        if not isinstance(error, OSError):
            log.error("the spool can't be drained", exc_info=(type(error), error, error.__traceback__))
        elif str(error) != self._said:
            self._said = str(error)
            log.error("the spool can't be drained: %s", self._said)

    async def _turn(self) -> float:
        """One look at the spool; seconds until the next."""
        if not await asyncio.to_thread(self.outlet.acquire):
            return OTHER_DRAINS_SECONDS
        await self.drain_once()
        return PAUSE_SECONDS

    async def drain_once(self) -> int:
        """Publish what waits now, until all is done or Kafka fails; the number of rows published."""
        try:
            done = await self._drain_all()
        except OSError:  # a full disk takes nothing aside: what is done with must go all the same
            await self._sweep()
            raise
        await self._sweep()
        return done

    async def _drain_all(self) -> int:
        waiting, done, published = self.outlet.waiting(), 0, 0
        while self.publisher.state is not State.DOWN:
            began = time.monotonic()
            if self.publisher.state is State.TRYING and not published:
                most = 1
            else:
                least = max(1, min(AT_ONCE, self.rate // 10))
                most = max(least, min(MOST_AT_ONCE, 2 * published, int(self.rate * self._answer_seconds)))
            batch = await asyncio.to_thread(_next, waiting, most)
            if not batch:
                break
            published = await self._publish(batch)
            done += published
            self.progress(published)
            await asyncio.sleep(max(len(batch) / self.rate - (time.monotonic() - began), 0))
        return done

    async def _sweep(self) -> None:
        damaged = await asyncio.to_thread(self.outlet.sweep)
        if damaged:
            self.metrics.count("phonon_set_aside_total", by=damaged)
            log.error("damaged bytes of the spool were set aside", extra={"fields": {"places": damaged}})

    async def _publish(self, batch: Sequence[Waiting]) -> int:
        """Publish rows, mark those that are in Kafka, set aside those that never will be; the number published."""
        outcomes = await asyncio.gather(*map(self._published, batch), return_exceptions=True)
        sent = [row for row, outcome in zip(batch, outcomes, strict=True) if outcome is None]
        await asyncio.to_thread(self.outlet.mark_sent, sent)
        self.metrics.count("phonon_drained_total", by=len(sent))
        for row, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, Unacknowledged):
                await asyncio.to_thread(self.outlet.set_aside, row)
                self.metrics.count("phonon_set_aside_total")
                if isinstance(outcome, Unpublishable):
                    log.error("a spooled delivery was set aside: Kafka refuses a record for good: %s", outcome)
                else:
                    error = (type(outcome), outcome, outcome.__traceback__)
                    log.error("a spooled delivery was set aside", exc_info=error)
        return len(sent)

    async def _published(self, waiting: Waiting) -> None:
        made = await self._made(waiting.row)
        began = time.monotonic()
        await self.publisher.publish(made.records, live=False)
        self._answer_seconds = time.monotonic() - began
        self.metrics.published(made)

    async def _made(self, row: Row) -> Made:
        """A row's records. Made here, one row after the other: a thread for each would cost as much as making them."""
        if self.pipeline.is_large(row.body):
            return await asyncio.to_thread(self.pipeline, row)
        async with self._turns:
            await asyncio.sleep(0)  # deliveries that have just come go first
            return self.pipeline(row)


def _next(waiting: Iterator[Waiting], most: int) -> list[Waiting]:
    """The next rows: so many, or fewer large ones."""
    batch: list[Waiting] = []
    size = 0
    for row in waiting:
        batch.append(row)
        size += len(row.row.body)
        if len(batch) == most or size >= MOST_BYTES_AT_ONCE:
            break
    return batch
