"""A backlog of flow records, and the metrics workers that drain it."""

import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from app.demo.ports import free_port
from benchmarks.processes import figure
from schemas import encoder
from schemas.topics import TOPICS, changelog_name, topic_name

PARTITIONS = 8
HOUR_MS, DISORDER_MS = 3_600_000, 30_000
HEADERS: list[tuple[str, str | bytes | None]] = [  # as long as the receiver's
    ("ce_specversion", b"1.0"), ("ce_id", b"-" * 36), ("ce_type", b"phonon.flow.v1"),
    ("ce_source", b"/webhooks/phonon"), ("ce_time", b"2026-11-24T17:00:00.000Z"), ("content-type", b"application/avro"),
]  # fmt: skip


def topics_of(servers: str) -> str:
    """Make all topics under a new prefix; returns that."""
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
    """So many `python -m streams` while the block runs: the processes, and the addresses of their metrics."""
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
            end(processes)


def end(processes: Iterable["subprocess.Popen[bytes]"], *, within_seconds: float = 15) -> None:
    """With SIGTERM, and who does not end by that with SIGKILL: nobody stays behind. Raises TimeoutExpired for that."""
    with ExitStack() as waiting:  # all are waited for, whoever of them does not end
        for process in processes:
            process.terminate()
            waiting.callback(_wait, process, time.monotonic() + within_seconds)


def _wait(process: "subprocess.Popen[bytes]", until: float) -> None:
    try:
        process.wait(max(0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def figures(addresses: list[str], name: str, label: str = "") -> float:
    """The sum of a figure over workers and labels: 0 while there is none, nan where a worker does not answer."""
    return sum(figure(address, name, label) for address in addresses)


def wait(until: Callable[[], bool], *, within_seconds: float = 300) -> None:
    """Ask ten times a second."""
    end = time.monotonic() + within_seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError("the worker did not get there")
        time.sleep(0.1)
