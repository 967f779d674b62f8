"""What a metrics worker costs: it drains a backlog of flow records, beside a bare aiokafka loop with the same reducer.

    python -m benchmarks.worker [--records 200000] [--dids 1000 50000]
    python -m benchmarks.worker --records 1000000          # some minutes

CPU is the processes' own, user and system, from /proc, less what workers without records use until they are ready: when
all records are counted, and once all state and every DID's figures are written. The bare loop reads, decodes and adds,
and writes nothing: what is above it is Faust, the state's log and the live metrics.
The backlog is an hour's flows in the order of their ends, give or take half a minute. A worker with shorter windows has
the same records: CPU may not grow with the windows' lengths. Memory is the table's own, by tracemalloc.
"""

import argparse
import asyncio
import gc
import os
import random
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from app.demo.broker import broker
from benchmarks.backlog import PARTITIONS, figures, fill, flow_record, forget, running, topics_of, wait
from benchmarks.processes import cpu_seconds
from benchmarks.report import as_table, console
from schemas import encoder
from schemas.topics import topic_name
from streams import flows
from streams.__main__ import GARBAGE
from streams.table import Table

WINDOWS = (5, 60, 1440)
COLUMNS = ("process", "DIDs", "CPU µs a record", "records/s", "µs a record, all written", "s until all is written")
MEMORY = ("what is held", "bytes")


class Spent(NamedTuple):
    """Seconds of CPU, and elapsed."""

    cpu: float
    elapsed: float


def main() -> None:
    """Run and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--records", type=int, default=200_000)
    options.add_argument("--dids", type=int, nargs="+", default=[1_000, 50_000])
    options.add_argument("--bare", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.bare:
        prefix, servers = given.bare.split(",", 1)
        print(asyncio.run(bare(prefix, servers, given.records)))
        return
    with broker(say=lambda _: None, real_only=True) as kafka:
        rows = [row for dids in given.dids for row in compare(kafka.bootstrap_servers, dids, given.records)]
    shown = console()
    shown.print(as_table(f"Draining {given.records:,} flow records", COLUMNS, rows))
    shown.print(as_table("Memory of a partition's state", MEMORY, memory()))
    shown.print(f"load average {os.getloadavg()[0]:.1f}")


def compare(servers: str, dids: int, records: int) -> Iterator[tuple[str, ...]]:
    """Worker, worker with shorter windows, two workers and bare loop over the same records."""
    idle = topics_of(servers)
    start_up = []
    for number in (1, 2):
        with running(servers, idle, number) as (processes, addresses):
            wait(lambda: figures(addresses, "phonon_partitions", 'state="live"') == PARTITIONS)
            start_up.append(sum(cpu_seconds(process.pid) for process in processes))
    full = topics_of(servers)
    fill(servers, full, dids, records)
    for name, number, settings in (
        ("metrics worker", 1, {}),
        ("the same, windows of 5m, 15m, 1h", 1, {"PHONON_WINDOWS": "5m,15m,1h"}),
        ("two metrics workers", 2, {}),
    ):
        counted, written = drained(servers, full, number, records, settings)
        idle_cpu = start_up[number - 1]
        yield (
            *row(name, dids, (counted.cpu - idle_cpu) / records, records / counted.elapsed),
            f"{(written.cpu - idle_cpu) / records * 1e6:.1f}",
            f"{written.elapsed:.1f}",
        )
        forget(servers, full)
    yield drained_bare(servers, full, dids, records)


def drained(servers: str, prefix: str, number: int, records: int, settings: dict[str, str]) -> tuple[Spent, Spent]:
    """CPU of so many workers and the time it took until all is counted, and until nothing is left to write."""
    with running(servers, prefix, number, settings) as (processes, addresses):
        wait(lambda: figures(addresses, "phonon_flows_total") > 0)
        begun = time.monotonic()
        wait(
            lambda: (
                figures(addresses, "phonon_flows_total") + figures(addresses, "phonon_flows_late_total") >= records
                and figures(addresses, "phonon_lag_records") == 0
            )
        )
        counted = spent(processes, begun)
        wait(lambda: figures(addresses, "phonon_dids_waiting") == 0)
        return counted, spent(processes, begun)


def spent(processes: list["subprocess.Popen[bytes]"], begun: float) -> Spent:
    """What the processes have used so far."""
    return Spent(sum(cpu_seconds(process.pid) for process in processes), time.monotonic() - begun)


def memory(dids: int = 200, flows_each: int = 100) -> list[tuple[str, ...]]:
    """What a DID with one flow takes, and what 1,000 flows more take: a minute each, and all in one minute."""
    one, apart, together = (held(dids, *shape) for shape in ((1, 1), (flows_each, 1000), (flows_each, 1)))
    more = dids * (flows_each - 1) / 1000
    return [
        ("a DID with one flow", f"{one / dids:,.0f}"),
        ("1,000 flows more of known DIDs, each in a minute of its own", f"{(apart - one) / more:,.0f}"),
        ("1,000 flows more of known DIDs, in known minutes", f"{(together - one) / more:,.0f}"),
    ]


def held(dids: int, flows_each: int, most_minutes: int) -> int:
    """Bytes that a table takes once all is written and at rest; what readers remember of bytes is there before."""
    encode, now, rng = encoder("Flow"), int(time.time() * 1000), random.Random(1)
    values = [
        encode(flow_record(rng, f"+9122{did:08d}", now - n % most_minutes * 60_000, agent=n % 2 == 0))
        for did in range(dids)
        for n in range(flows_each)
    ]
    for traced in (False, True):
        if traced:
            tracemalloc.start()
        before, table = tracemalloc.get_traced_memory()[0], Table(WINDOWS)
        for value in values:
            table.add(flows.read(value, timestamp=now), timestamp=now, now=now)
        for seconds in range(3):
            table.take(now=now, seconds=seconds, most=dids)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return taken


def drained_bare(servers: str, prefix: str, dids: int, records: int) -> tuple[str, ...]:
    """The row of the bare loop, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.worker", "--bare", f"{prefix},{servers}", "--records", str(records)]
    cpu, elapsed = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    return *row("bare aiokafka loop", dids, cpu / records, records / elapsed), "", ""


def row(name: str, dids: int, cpu: float, rate: float) -> tuple[str, ...]:
    """The first columns."""
    return name, f"{dids:,}", f"{cpu * 1e6:.1f}", f"{rate:,.0f}"


async def bare(prefix: str, servers: str, records: int) -> str:
    """CPU and elapsed seconds of reading, decoding and adding all records."""
    topic = topic_name(prefix, "Flow")
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
    tables = [Table(WINDOWS) for _ in range(PARTITIONS)]
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    cpu, begun, done = time.process_time(), time.monotonic(), 0
    while done < records:
        for tp, chunk in (await consumer.getmany(timeout_ms=500)).items():
            now, add = time.time_ns() // 1_000_000, tables[tp.partition].add
            found = [(flows.read(record.value, timestamp=record.timestamp), record.timestamp) for record in chunk]
            for flow, timestamp in found:
                add(flow, timestamp=timestamp, now=now)
            done += len(chunk)
    measured = f"{time.process_time() - cpu} {time.monotonic() - begun}"
    await consumer.stop()
    return measured


if __name__ == "__main__":
    main()
