"""The life of one partition that this worker owns: fence, read the state, count, flush; and again after any error.

Whatever goes wrong with a flush (fenced by a newer owner, Kafka away, a transaction timed out), nothing is guessed: the
state in memory is dropped and read again from the log, which holds whole transactions only.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol

from aiokafka.errors import KafkaError

from schemas import Undecodable, UnknownId
from schemas.settings import Window
from streams import changelog, flows, live, measures, offsets, rejects, told
from streams.changelog import Place, Sent, Writer
from streams.chunks import Fetched
from streams.failures import Failures
from streams.framing import Framing
from streams.rules import Rules
from streams.table import COUNTED, DUPLICATE, LATE, Changes, Table
from streams.windows import Flow

log = logging.getLogger("streams.partition")

FLUSH_SECONDS: Final = 0.2
BEHIND_FLUSH_SECONDS: Final = 5.0  # while far behind: a bucket that grows is written less often, and metrics can wait
BEHIND_RECORDS: Final = 5_000
MANY_REJECTED: Final = 100  # are written at once: in 5 s there can be too many MB of them for a transaction
A_TURN: Final = 500  # records counted before others have their turn
LIVE_A_FLUSH: Final = 1_000  # at most so many metrics are written in a flush, so that encoding them stalls nothing
BEHIND_LIVE_A_FLUSH: Final = 25
ROLLED_A_FLUSH: Final = 5_000
ROLLED_A_TURN: Final = 250  # with 200 rules a DID takes 0.25 ms
COMMIT_SECONDS: Final = 1.0
SAY_REJECTED_MS: Final = 60_000  # between two lines on records that are set aside: the figures count them all
STRAYS_AMONG: Final = 1_000  # DIDs looked at: 15 us each

_OUTCOMES: Final = {COUNTED: measures.FLOWS, DUPLICATE: measures.DUPLICATE, LATE: measures.LATE}


class Topics(NamedTuple):
    """Where records go."""

    metrics: str
    alerts: str
    rejected: str


class Beside(Protocol):
    """What the owner of a partition does beside it."""

    def start(self) -> None: ...
    async def stop(self) -> None: ...
    def measure(self) -> None: ...


class Ports(NamedTuple):
    """What a partition needs of its worker."""

    windows: tuple[Window, ...]
    rules: Rules
    topics: Topics
    seek: Callable[[int, int], Awaitable[None]]
    framing: Framing
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000


class Partition:
    """An owned partition. `table` is None until its state is read; chunks that come earlier are dropped and reread."""

    def __init__(self, place: Place, ports: Ports, beside: Beside | None = None) -> None:
        self.place, self.ports, self.beside = place, ports, beside
        self.number = place.partition
        self.table: Table | None = None
        self.trouble: str | None = "reading its state"
        self.asking: str | None = None  # while a schema is looked up: "", or why that is not possible now
        self.end = 0  # of the source's log, as far as known
        self.seen_at = time.monotonic()  # when Kafka last said where that is
        self.progress_at = time.monotonic()
        self.sought_at = float("-inf")
        self.last_timestamp: int | None = None
        self.loaded = 0.0  # the share of its state that is read
        self.delay_seconds: float | None = None  # from Kafka's timestamp of the last counted record to its flush
        self.lost_at = float("-inf")
        self._sought: int | None = None  # the next offset that was sought after a gap
        self._rejected: list[Sent] = []
        self._rejected_said = 0  # ms
        self._fresh = False  # whether anything was counted since the last flush
        self._committed: int | None = None
        self._committed_at = float("-inf")
        self._failures = Failures(f"partition {self.number}")
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lookup: asyncio.Task[None] | None = None

    @property
    def lag(self) -> int:
        """Records not counted yet."""
        table = self.table
        return max(0, self.end - (table.next_offset or 0)) if table else 0

    def start(self) -> None:
        """Begin to live."""
        measures.LOST.labels(self.number)  # counts from 0
        self._task = asyncio.create_task(self._live(), name=f"partition {self.number}")
        if self.beside is not None:
            self.beside.start()

    async def stop(self) -> None:
        """Flush a last time, if that is possible within 3 s, and let go. What is still being read is let go at once."""
        self._stopping.set()
        if self.beside is not None:
            await self.beside.stop()
        if self._task is not None:
            _, waiting = await asyncio.wait({self._task}, timeout=3 if self.table else 0)
            for task in waiting:
                task.cancel()
        if self._lookup is not None:
            self._lookup.cancel()

    async def count(self, fetched: Fetched) -> None:
        """Treat a chunk by the law in `offsets`. One from before the last seek says nothing of the log as it is now."""
        table = self.table
        if table is None or table.next_offset is None or self.asking is not None or fetched.at < self.sought_at:
            return
        self.end = max(self.end, fetched.chunk.end)
        verdict = offsets.judge(fetched.chunk, table.next_offset)
        if verdict == offsets.SEEK:
            measures.REREAD.inc()
            await self.read_again()
        elif verdict == offsets.ANEW:
            log.warning(
                "partition %d: counted up to offset %d, and the log ends at %d: its topic was made anew, or Kafka lost "
                "records; all that it holds is read again", self.number, table.next_offset, fetched.chunk.end,
            )  # fmt: skip
            self.end = fetched.chunk.end
            table.passed(fetched.chunk.first)
            await self._count_all(table, fetched.records)
        elif verdict == offsets.TAKE:
            await self._count_all(table, fetched.records)

    async def seek(self) -> None:
        """Read again from the offset that comes next."""
        if self.table is not None and self.table.next_offset is not None:
            self.sought_at = time.monotonic()  # so that the watch does not seek as well
            await self.ports.seek(self.number, self.table.next_offset)
            self.sought_at = time.monotonic()  # what was handed over before this is from before the seek

    async def read_again(self) -> None:
        """Seek what should have come next; the second time, ask the log whether it has that at all."""
        table = self.table
        if table is None or table.next_offset is None:
            return
        missing = table.next_offset
        if self._sought == missing:
            await self._pass_hole(table, missing)
        self._sought = missing
        await self.seek()

    async def _pass_hole(self, table: Table, missing: int) -> None:
        """Where the log has no records from this offset on, go on at the next one that it may have."""
        try:
            begin, first = await changelog.first_from(self.place, missing)
        except (KafkaError, OSError, TimeoutError):
            return
        if table is not self.table or table.next_offset != missing or first <= missing:
            return
        if (expired := begin - missing) > 0:
            measures.EXPIRED.inc(expired)
            log.warning("partition %d: the log has no offsets %d to %d", self.number, missing, begin - 1)
        table.passed(first)

    async def _count_all(self, table: Table, records: list[Any]) -> None:
        """In turns between which other tasks have theirs: a flush needs many."""
        for begin in range(0, len(records), A_TURN):
            self._count(table, records[begin : begin + A_TURN])
            await asyncio.sleep(0)
            if table is not self.table or self.asking is not None:
                return

    def _count(self, table: Table, records: list[Any]) -> None:
        now, since, resolve = self.ports.now_ms(), table.next_offset or 0, self.ports.framing.resolve
        if records[-1].offset < since:
            return
        until = records[-1].offset + 1
        found: list[tuple[Flow, int]] = []  # read all, then count all: one by one takes a fifth longer
        for record in records:
            if record.offset < since:
                continue
            try:
                found.append((flows.read(record.value, resolve, timestamp=record.timestamp), record.timestamp))
            except Undecodable as error:
                self._reject(record, str(error), now)
            except UnknownId:
                until = record.offset
                self._look_up(self.ports.framing.unknown(one.value for one in records))
                break
        outcomes = {COUNTED: 0, DUPLICATE: 0, LATE: 0}
        for flow, timestamp in found:
            outcomes[table.add(flow, timestamp=timestamp, now=now)] += 1
        table.passed(until)
        self.last_timestamp, self._fresh = records[-1].timestamp, True
        self.progress_at = time.monotonic()
        for outcome, number in outcomes.items():
            if number:
                _OUTCOMES[outcome].inc(number)

    def _look_up(self, ids: set[int]) -> None:
        """Ask the schema registry. Until it has answered, nothing is counted here; then the rest is read again."""
        self.asking = ""
        self._lookup = asyncio.create_task(self._learn(ids), name=f"schemas of partition {self.number}")

    async def _learn(self, ids: set[int]) -> None:
        await self.ports.framing.learn(ids, self._tell_asking)
        self.asking, self.progress_at = None, time.monotonic()
        await self.seek()

    def _tell_asking(self, problem: str) -> None:
        log.warning("partition %d: records wait: %s", self.number, problem)
        self.asking = problem

    def _reject(self, record: object, why: str, now: int) -> None:
        measures.REJECTED.inc()
        if now - self._rejected_said > SAY_REJECTED_MS:
            log.warning("partition %d: a record is set aside: %s", self.number, why)
            self._rejected_said = now
        header = self.ports.framing.headers["Rejected"]
        value = rejects.rejected(record, reason=why, received_at=now, header=header)
        self._rejected.append((self.ports.topics.rejected, None, value, rejects.headers(record, now)))

    async def _live(self) -> None:
        while not self._stopping.is_set():
            writer = Writer(self.place)
            pause = 0.0
            try:
                await self._recover(writer)
                await self._keep_flushing(writer)
            except Exception as error:  # noqa: BLE001 - whatever it is: nobody else would tell, or begin anew
                pause = self._lose(error)
            finally:
                self.table = None
                await writer.close()
            await self._wait(pause)

    def _lose(self, error: Exception) -> float:
        """The state is dropped; how long to rest before it is read again, s."""
        if self._stopping.is_set():
            return 0.0
        self.lost_at = time.monotonic()
        if self.table is not None:  # a failed try to read it again is no further loss
            measures.LOST.labels(self.number).inc()
        pause = self._failures.take(error)
        self.trouble = f"state dropped: {self._failures.last}"
        return pause

    async def _recover(self, writer: Writer) -> None:
        begun = time.monotonic()
        self.trouble = "reading its state" + (f" again: {self._failures.last}" if self._failures.last else "")
        self._rejected, self._committed, self.loaded = [], None, 0.0
        table = Table([window.seconds // 60 for window in self.ports.windows], self.ports.rules)
        await writer.open()
        alone = time.monotonic()
        first, end = await changelog.read(self.place, table.restore, partial(setattr, self, "loaded"))
        table.settle(seconds=alone)
        self._tell_strays(table, len(await writer.places(self.place.source)))
        self._start_at(table, first)
        self.table, self.end = table, end
        await self.seek()
        self.loaded, self.trouble, self.progress_at = 1.0, None, time.monotonic()
        took = time.monotonic() - begun
        log.info("partition %d: live with %d DIDs, %d buckets after %.1f s",
                 self.number, len(table.dids), table.buckets, took)  # fmt: skip

    def _tell_strays(self, table: Table, partitions: int) -> None:
        """Where partitions were added, DIDs move to others: both then count them, and neither has all."""
        some = list(islice(table.dids, STRAYS_AMONG))
        strays = sum(changelog.home(did.encode(), partitions) != self.number for did in some)
        if strays:
            log.warning(
                "partition %d: %d of %d DIDs have their calls in another one of the %d: their figures are wrong, see "
                "'Another number of partitions' in docs/runbook.md", self.number, strays, len(some), partitions,
            )  # fmt: skip

    def _start_at(self, table: Table, first: int) -> None:
        """Where the source's log begins beyond the next offset, Kafka has deleted records before they were read."""
        if table.next_offset is not None and table.next_offset < first:
            measures.EXPIRED.inc(first - table.next_offset)
            log.warning("partition %d: offsets %d to %d expired unread", self.number, table.next_offset, first - 1)
        if table.next_offset is None or table.next_offset < first:
            table.passed(first)

    async def _keep_flushing(self, writer: Writer) -> None:
        flushed_at = time.monotonic()
        while not self._stopping.is_set():
            await self._wait(FLUSH_SECONDS)
            far_behind = self.lag > BEHIND_RECORDS and len(self._rejected) < MANY_REJECTED
            if not far_behind or time.monotonic() - flushed_at >= BEHIND_FLUSH_SECONDS:
                flushed_at = time.monotonic()
                await self._flush(writer)
        await self._flush(writer)

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            pass

    async def _flush(self, writer: Writer) -> None:
        table, now, seconds = self.table, self.ports.now_ms(), time.monotonic()
        assert table is not None
        for _ in range(ROLLED_A_FLUSH // ROLLED_A_TURN):
            if not table.roll(now=now, most=ROLLED_A_TURN):
                break
            await asyncio.sleep(0)
        most = BEHIND_LIVE_A_FLUSH if self.lag > BEHIND_RECORDS else LIVE_A_FLUSH
        changes = table.take(now=now, seconds=seconds, most=most)
        commit = self._to_commit(table.next_offset, seconds)
        records = self._records(changes)
        if not records and commit is None:
            return
        fresh, stamp, self._fresh = self._fresh, self.last_timestamp, False
        with measures.FLUSH.time():
            await writer.write(records, next_offset=commit)
        self._failures.well()
        measures.EMITTED.inc(len(changes.live))
        for alert in changes.alerts:
            measures.ALERTS.labels(alert.state).inc()
        if commit is not None:
            self._committed, self._committed_at = commit, seconds
        if fresh and stamp is not None:
            self.delay_seconds = max(0, self.ports.now_ms() - stamp) / 1000

    def _to_commit(self, next_offset: int | None, seconds: float) -> int | None:
        """The group's offset is for onlookers, who need it once a second; the state has its own in each transaction."""
        due = self._stopping.is_set() or seconds - self._committed_at >= COMMIT_SECONDS
        return next_offset if due and next_offset != self._committed else None

    def _records(self, changes: Changes) -> list[Sent]:
        rejects, self._rejected = self._rejected, []
        records: list[Sent] = [(self.place.changelog, key, value, []) for key, value in changes.changelog]
        for did in changes.live:
            value = live.value(did, self.ports.windows, self.ports.framing.headers["DidMetrics"])
            records.append((self.ports.topics.metrics, did.did.encode(), value, live.headers(did)))
        for alert in changes.alerts:
            key, value = alert.did.encode(), told.value(alert, self.ports.framing.headers["DidAlert"])
            records.append((self.ports.topics.alerts, key, value, told.headers(alert)))
        return records + rejects
