"""All partitions that this worker owns now. A shell: Kafka says who owns what, each partition what is in it."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from streams import measures
from streams.chunks import Fetched
from streams.partition import Partition

log = logging.getLogger("streams.partitions")

STALLED_SECONDS: Final = 5.0  # records wait, and none came from any partition: seek again
STARVED_SECONDS: Final = 20.0  # none came from this one, while others had theirs
REBALANCED_SECONDS: Final = 2.0  # none came since a rebalance: what was fetched before may have been dropped in it
UNREADY_SECONDS: Final = 30.0  # and still none: say so
UNSEEN_SECONDS: Final = 15.0  # Kafka did not say how far the logs reach; it is asked every second


class Partitions:
    """Owned partitions by number. One that stays ours over a rebalance keeps its state: Kafka's fence guards it."""

    def __init__(self, make: Callable[[int], Partition]) -> None:
        self._make = make
        self.owned: dict[int, Partition] = {}
        self.assigned = False  # not before the first assignment, and not in a rebalance
        self._assigned_at = float("-inf")
        self._leaving: set[asyncio.Task[None]] = set()

    def revoked(self) -> None:
        """A rebalance has begun. What is ours goes on until we hear who gets it."""
        self.assigned = False

    def own(self, numbers: Iterable[int]) -> None:
        """The rebalance's outcome: let go of what is no longer ours, begin with what is new."""
        now = set(numbers)
        for number in self.owned.keys() - now:
            task = asyncio.create_task(self.owned.pop(number).stop())  # in its own time: the others go on
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        for number in sorted(now - self.owned.keys()):
            self.owned[number] = self._make(number)
            self.owned[number].start()
        self.assigned, self._assigned_at = True, time.monotonic()
        log.info("partitions owned: %s", ", ".join(map(str, sorted(now))) or "none")

    async def stop(self) -> None:
        """Flush and let go of all."""
        owned, self.owned = list(self.owned.values()), {}
        await asyncio.gather(*[partition.stop() for partition in owned], *self._leaving)

    async def count(self, fetched: Fetched) -> None:
        """Count a chunk of an owned partition; one of another's is its owner's to read."""
        partition = self.owned.get(fetched.partition)
        if partition is not None:
            await partition.count(fetched)

    def trouble(self) -> str | None:
        """Why this worker is not ready; None when it is."""
        if not self.assigned:
            return "waiting for Kafka to assign partitions"
        for number, partition in sorted(self.owned.items()):
            if partition.trouble or partition.asking:
                return f"partition {number}: {partition.trouble or partition.asking}"
            if partition.lag and time.monotonic() - partition.progress_at > UNREADY_SECONDS:
                return f"partition {number}: records wait and none are read"
        since = time.monotonic() - UNSEEN_SECONDS
        unseen = [number for number, one in self.owned.items() if max(one.seen_at, self._assigned_at) < since]
        if unseen and len(unseen) == len(self.owned):
            return "Kafka does not answer"
        return f"partition {min(unseen)}: Kafka does not say how far its log reaches" if unseen else None

    def lost_at(self) -> float:
        """When a state was last lost, or could not be read."""
        return max((partition.lost_at for partition in self.owned.values()), default=float("-inf"))

    async def watch(self, ends: dict[int, int]) -> None:
        """Note how far the logs reach; where records wait and none came for a while, seek again."""
        now = time.monotonic()
        last = max((partition.progress_at for partition in self.owned.values()), default=now)
        usual = STALLED_SECONDS if now - last > STALLED_SECONDS else STARVED_SECONDS
        stalled = list[Partition]()
        for number, end in ends.items():
            partition = self.owned.get(number)
            if partition is None:
                continue
            partition.seen_at = now
            if partition.table is None:
                continue
            if not partition.lag:
                partition.progress_at = now
            partition.end = max(partition.end, end)
            patience = REBALANCED_SECONDS if partition.progress_at < self._assigned_at else usual
            since = max(partition.progress_at, partition.sought_at, self._assigned_at)
            if partition.asking is None and partition.lag and now - since > patience:
                log.warning("partition %d: %d records wait and none came; seeking again", number, partition.lag)
                stalled.append(partition)
        await asyncio.gather(*[partition.read_again() for partition in stalled])

    def measure(self, now_ms: int) -> None:
        """Bring the gauges up to date."""
        tables = [partition.table for partition in self.owned.values() if partition.table]
        measures.PARTITIONS.labels("live").set(len(tables))
        measures.PARTITIONS.labels("recovering").set(len(self.owned) - len(tables))
        measures.DIDS.set(sum(len(table.dids) for table in tables))
        measures.BUCKETS.set(sum(table.buckets for table in tables))
        measures.ALERTS_FIRING.set(sum(table.alerts.firing() for table in tables))
        clocks = [table.clock.floor or 0 for table in tables]
        measures.CLOCK_AHEAD.set(max(0, max(clocks, default=0) - now_ms) / 1000)
        measures.GROUPS.set(0)
        for beside in [partition.beside for partition in self.owned.values() if partition.beside]:
            beside.measure()
        measures.WAITING.set(sum(table.waiting for table in tables))
        for gauge in (measures.LAG_RECORDS, measures.LAG_SECONDS, measures.RECOVERED, measures.EMISSION_DELAY):
            gauge.clear()
        for number, partition in self.owned.items():
            age = now_ms - (partition.last_timestamp or now_ms)
            measures.LAG_RECORDS.labels(number).set(partition.lag)
            measures.LAG_SECONDS.labels(number).set(max(0, age) / 1000 if partition.lag else 0)
            measures.RECOVERED.labels(number).set(partition.loaded)
            if partition.delay_seconds is not None:
                measures.EMISSION_DELAY.labels(number).set(partition.delay_seconds)
