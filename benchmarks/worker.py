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
import tempfile
import time
import tracemalloc
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from rich.console import Console
from rich.table import Table as Shown

from app.demo.broker import broker
from app.demo.ports import free_port
from schemas import encoder
from schemas.topics import TOPICS, changelog_name, topic_name
from streams import flows
from streams.__main__ import GARBAGE
from streams.table import Table

PARTITIONS = 8
WINDOWS = (5, 60, 1440)
HOUR_MS, DISORDER_MS = 3_600_000, 30_000
COLUMNS = ("process", "DIDs", "CPU µs a record", "records/s", "µs a record, all written", "s until all is written")
HEADERS: list[tuple[str, str | bytes | None]] = [  # as long as the receiver's
    ("ce_specversion", b"1.0"), ("ce_id", b"-" * 36), ("ce_type", b"phonon.flow.v1"),
    ("ce_source", b"/webhooks/phonon"), ("ce_time", b"2026-11-24T17:00:00.000Z"), ("content-type", b"application/avro"),
]  # fmt: skip
MEMORY = ("what is held", "bytes")


class Spent(NamedTuple):
    """Seconds."""

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
    console = Console()
    console.print(table(f"Draining {given.records:,} flow records", COLUMNS, rows))
    console.print(table("Memory of a partition's state", MEMORY, memory()))
    console.print(f"load average {os.getloadavg()[0]:.1f}")


def table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Shown:
    """The figures, for people."""
    shown = Shown(title=title)
    for column in columns:
        shown.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        shown.add_row(*row)
    return shown


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
    """So far."""
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


def topics_of(servers: str) -> str:
    """All topics of a new prefix."""
    prefix = f"b{uuid.uuid4().hex[:8]}"
    topics = [NewTopic(topic_name(prefix, topic.record), PARTITIONS, 1) for topic in TOPICS]
    admin = AdminClient({"bootstrap.servers": servers})  # lives until all is answered
    for future in admin.create_topics(topics).values():
        future.result()
    return prefix


def forget(servers: str, prefix: str) -> None:
    """Delete the state, so that the next worker begins anew."""
    admin = AdminClient({"bootstrap.servers": servers})
    for future in admin.delete_topics([changelog_name(prefix)]).values():
        future.result()
    wait(lambda: changelog_name(prefix) not in admin.list_topics(timeout=5).topics)


def fill(servers: str, prefix: str, dids: int, records: int) -> None:
    """Flows of the last hour as they ended, DIDs in any order: a visitor leg each, every second an agent leg too."""
    producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random", "linger.ms": 20})
    encode, topic, rng, now = encoder("Flow"), topic_name(prefix, "Flow"), random.Random(1), int(time.time() * 1000)
    for number in range(records):
        at = now - HOUR_MS + number * HOUR_MS // records - rng.randrange(DISORDER_MS)
        flow = flow_record(rng, f"+9122{rng.randrange(dids):08d}", at, agent=number % 2 == 0)
        while True:
            try:
                producer.produce(topic, key=flow.did.encode(), value=encode(flow), headers=HEADERS)
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    producer.flush()


def flow_record(rng: random.Random, did: str, at: int, *, agent: bool) -> Any:
    """A flow as the receiver writes it."""
    visitor = leg(rng, "VISITOR", at)
    legs = [visitor, leg(rng, "AGENT", at)] if agent else [visitor]
    return SimpleNamespace(
        event_id=str(uuid.UUID(int=rng.getrandbits(128))), flow_id=f"{rng.getrandbits(128):032x}", did=did,
        occurred_at=at, received_at=at + 2000, anomalies=[], extra={"flowStatus": '"COMPLETED"'}, main=True,
        direction="INBOUND", disposition=visitor.disposition, reached=visitor.answered,
        agent_reached=agent and legs[-1].answered, started_at=at - 90_000, ended_at=at, talk_ms=visitor.talk_ms or 0,
        time_to_agent_ms=8_000 if agent else None, legs=legs, dtmf_count=2, sms_count=0, email_count=0, key_count=4,
        recording_count=1, rejected_count=0, caller=f"tok_{rng.getrandbits(17) << 80:032x}",
        menu_path=rng.choice(("1", "2", "1>2", "1>2>data", None)), time_to_first_key_ms=3_000,
        time_after_last_key_ms=60_000,
    )  # fmt: skip


def leg(rng: random.Random, role: str, at: int) -> Any:
    """A leg of it."""
    answered = rng.random() < 0.5
    return SimpleNamespace(
        cdr_id=f"{rng.getrandbits(40)}", role=role, direction="INBOUND", answered=answered, started_at=at - 90_000,
        disposition="ANSWERED" if answered else "NO_ANSWER", ended_at=at, setup_ms=6_000 if answered else None,
        ring_ms=rng.randrange(30_000), talk_ms=rng.randrange(200_000) if answered else None,
    )  # fmt: skip


@contextmanager
def running(
    servers: str, prefix: str, number: int = 1, more: dict[str, str] | None = None
) -> Iterator[tuple[list["subprocess.Popen[bytes]"], list[str]]]:
    """So many running `python -m streams` and their management addresses."""
    processes, addresses = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(number):
            port = free_port()
            settings = {
                "KAFKA_BOOTSTRAP_SERVERS": servers, "PHONON_TOPIC_PREFIX": prefix, "PHONON_LOG_LEVEL": "warning",
                "PHONON_STATE_DIR": f"{folder}/{port}", "PHONON_MANAGEMENT_PORT": str(port), **(more or {}),
            }  # fmt: skip
            processes.append(subprocess.Popen([sys.executable, "-m", "streams"], env=os.environ | settings))
            addresses.append(f"http://127.0.0.1:{port}/metrics")
        try:
            yield processes, addresses
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(15)


def figures(addresses: list[str], name: str, label: str = "") -> float:
    """The sum of a figure over workers and labels; 0 while there is none."""
    return sum(figure(address, name, label) for address in addresses)


def figure(address: str, name: str, label: str = "") -> float:
    """The sum of a figure over its labels; 0 while there is none."""
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            lines = response.read().decode().splitlines()
    except (urllib.error.URLError, OSError):
        return 0.0
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name and label in line
    )


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        user, system = stat.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def wait(until: Callable[[], bool], *, within_seconds: float = 300) -> None:
    """Ask ten times a second."""
    end = time.monotonic() + within_seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError("the worker did not get there")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
