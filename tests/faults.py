"""What breaks, breaks here: broker and receiver are paused and killed under load, and nothing acknowledged is lost.

Each phase must have seen enough of what it is about for its question to mean something. The random walk through the
same faults for minutes is `make soak` (tests/soak.py).
"""

import asyncio
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.demo.child import Child
from app.demo.kafka_node import KafkaNode
from app.demo.ports import answers, free_port
from app.topics import create_topics
from schemas.settings import read_settings
from tests.oracle import Oracle, Phase
from tests.processes import Processes

pytestmark = [pytest.mark.broker, pytest.mark.slow]

RATE = 120
ANSWER_WITHIN_SECONDS = 4.0
SPOOLED_AT_ONCE_SECONDS = 1.5


class Receiver:
    """A receiver under test: started again on the same ports and spool."""

    def __init__(self, process: Processes, kafka: KafkaNode, folder: Path, prefix: str, workers: int) -> None:
        self._process, self._kafka, self._workers = process, kafka, workers
        self.port, self.management_port = free_port(), free_port()
        self.spool = folder / "spool"
        self.settings = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "PHONON_TOPIC_PREFIX": prefix,
            "PHONON_PORT": str(self.port),
            "PHONON_MANAGEMENT_PORT": str(self.management_port),
            "PHONON_SPOOL_DIR": str(self.spool),
            "PHONON_LOG_LEVEL": "warning",
            "PHONON_DRAIN_RATE": "1000",
        }
        self.child: Child

    def start(self, **settings: str) -> None:
        url = f"http://127.0.0.1:{self.management_port}/readyz"
        arguments = ["serve", "--workers", str(self._workers)]
        self.child = self._process(*arguments, settings=self.settings | settings, ready=url)

    @property
    def waiting(self) -> bool:
        """Whether any delivery waits on disk."""
        return any(path.stat().st_size for path in self.spool.glob("*.spool"))

    async def drained(self, phase: Phase, within_seconds: float) -> None:
        """Wait until the spool is empty; how long that took belongs to the phase."""
        began = time.monotonic()
        await until(lambda: not self.waiting, within_seconds)
        phase.drain_seconds = time.monotonic() - began


async def until(condition: Callable[[], bool], within_seconds: float) -> None:
    """Wait for a condition, or fail."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_seconds:g} s"
        await asyncio.sleep(0.05)


def made_topics(kafka: KafkaNode, prefix: str) -> None:
    create_topics(read_settings({"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PHONON_TOPIC_PREFIX": prefix}))


async def steady(oracle: Oracle, receiver: Receiver) -> None:
    """Healthy Kafka: everything straight there, the spool never touched (once the broker's code is warm)."""
    async with oracle.phase("warming"):
        await asyncio.sleep(1.5)
    await until(lambda: not receiver.waiting, 10)
    async with oracle.phase("steady") as phase:
        await until(lambda: phase.answers["200"] > 2 * RATE, 20)
    assert set(phase.answers) == {"200"}, receiver.child.tail()
    assert not receiver.waiting


async def broker_hangs(oracle: Oracle, receiver: Receiver, kafka: KafkaNode) -> None:
    """A hung broker: seen by the age of what is not acknowledged; then spooled at once."""
    async with oracle.phase("broker hangs 4 s") as phase:
        await until(lambda: phase.answers["200"] > 20, 10)
        kafka.pause()
        await asyncio.sleep(4)
        kafka.resume()
        await receiver.drained(phase, 8)
    assert phase.answers["202"] > RATE
    assert set(phase.answers) == {"200", "202"}


async def broker_dies(oracle: Oracle, receiver: Receiver, kafka: KafkaNode) -> None:
    """A killed broker that comes back."""
    async with oracle.phase("broker killed, back after 2 s") as phase:
        await until(lambda: phase.answers["200"] > 20, 10)
        kafka.kill()
        await asyncio.sleep(2)
        await asyncio.to_thread(kafka.start)
        await receiver.drained(phase, 30)
    assert phase.answers["202"] > 2 * RATE
    assert set(phase.answers) == {"200", "202"}


async def receiver_dies(oracle: Oracle, receiver: Receiver, kafka: KafkaNode) -> None:
    """A killed receiver, with deliveries on disk and others under way; its successor drains what it left."""
    async with oracle.phase("receiver killed while Kafka hangs") as phase:
        await until(lambda: phase.answers["200"] > 20, 10)
        kafka.pause()
        await until(lambda: phase.answers["202"] > RATE, 20)
        receiver.child.kill()
        assert receiver.waiting
        await asyncio.to_thread(receiver.start)
        await asyncio.sleep(0.5)
        kafka.resume()
        await receiver.drained(phase, 12)
    assert phase.answers["202"] > RATE
    assert phase.answers["lost"] > 0
    assert set(phase.answers) <= {"200", "202", "lost"}


async def receiver_stops(oracle: Oracle, receiver: Receiver) -> None:
    """SIGTERM under load: readiness goes first, it serves on, ends with 0."""
    async with oracle.phase("receiver stopped and started") as phase:
        await until(lambda: phase.answers["200"] > 20, 10)
        receiver.child.signal(signal.SIGTERM)
        ready = f"http://127.0.0.1:{receiver.management_port}/readyz"
        await asyncio.sleep(0.3)
        taken = phase.answers["200"]
        assert not await asyncio.to_thread(answers, ready)
        await asyncio.sleep(0.7)
        assert phase.answers["200"] > taken
        assert await asyncio.to_thread(receiver.child.wait, 8) == 0
        await asyncio.to_thread(receiver.start)
        taken = phase.answers["200"]
        await until(lambda: phase.answers["200"] > taken + 20, 10)
    assert set(phase.answers) <= {"200", "lost"}


async def no_broker_at_start(oracle: Oracle, receiver: Receiver, kafka: KafkaNode) -> None:
    """A receiver that starts without any Kafka takes deliveries all the same."""
    receiver.child.stop()
    oracle.forget_connections()
    kafka.kill()
    receiver.start()
    async with oracle.phase("no broker at the start") as phase:
        await asyncio.sleep(1.5)
        await asyncio.to_thread(kafka.start)
        await receiver.drained(phase, 30)
    assert phase.answers["202"] > RATE
    assert set(phase.answers) <= {"200", "202"}
    assert phase.slowest_seconds < SPOOLED_AT_ONCE_SECONDS


async def disk_fills(oracle: Oracle, receiver: Receiver, kafka: KafkaNode) -> None:
    """A full spool says 507, and takes deliveries again once it is drained."""
    receiver.child.stop()
    oracle.forget_connections()
    receiver.start(PHONON_SPOOL_MAX_BYTES="250000")
    async with oracle.phase("Kafka hangs and the spool is full") as phase:
        kafka.pause()
        ready = f"http://127.0.0.1:{receiver.management_port}/readyz"
        await until(lambda: phase.answers["507"] > 20, 10)
        assert not await asyncio.to_thread(answers, ready)
        kafka.resume()
        await receiver.drained(phase, 10)
        assert await asyncio.to_thread(answers, ready)
    assert phase.answers["202"] > 50
    assert set(phase.answers) <= {"200", "202", "507"}


@pytest.mark.parametrize("workers", [1, 2])
async def test_nothing_acknowledged_is_lost(
    workers: int, process: Processes, own_kafka: KafkaNode, prefix: str, tmp_path: Path
) -> None:
    made_topics(own_kafka, prefix)
    receiver = Receiver(process, own_kafka, tmp_path, prefix, workers)
    oracle = Oracle(receiver.port, seed=workers, rate=RATE)
    receiver.start()
    await steady(oracle, receiver)
    await broker_hangs(oracle, receiver, own_kafka)
    await receiver_dies(oracle, receiver, own_kafka)
    await receiver_stops(oracle, receiver)
    if workers == 1:
        await broker_dies(oracle, receiver, own_kafka)
        await no_broker_at_start(oracle, receiver, own_kafka)
        await disk_fills(oracle, receiver, own_kafka)
    await until(lambda: not receiver.waiting, 10)
    fresh = Phase("afterwards")
    assert await oracle.one(fresh) == "200"
    verdict = await asyncio.to_thread(oracle.judge, own_kafka.bootstrap_servers, prefix)
    print(f"\n{workers} worker(s)", *[phase.line() for phase in oracle.phases], verdict.line(), sep="\n  ")  # noqa: T201
    assert not verdict.losses
    assert not verdict.strangers
    assert not verdict.wrong
    assert verdict.obligations > 500
    assert max(phase.slowest_seconds for phase in oracle.phases) < ANSWER_WITHIN_SECONDS
    assert not re.search(r"\+?91\d{10}", receiver.child.output)
