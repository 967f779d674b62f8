"""`make soak`: a random walk through the faults for minutes, with a fixed seed, and one line of figures at its end.

    python -m tests.soak [--minutes 10] [--seed 1] [--workers 2] [--rate 200] [--metrics-minutes 5]

Broker and receiver are paused, killed and stopped in random order and for random times under steady load; afterwards
every 2xx is looked up in Kafka. Then the metrics workers have their turn (tests/soak_workers.py). Exit code 1 if
anything that was acknowledged is not there, or a DID's metrics are not what they must be.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from app.demo.broker import jars
from app.demo.kafka_node import KafkaNode
from tests import soak_workers
from tests.faults import ANSWER_WITHIN_SECONDS, Receiver, made_topics
from tests.oracle import Oracle, Phase
from tests.patience import until
from tests.processes import Processes

PREFIX = "soak"


class Soak:
    """One run."""

    def __init__(self, receiver: Receiver, kafka: KafkaNode, oracle: Oracle, seed: int) -> None:
        self.receiver, self.kafka, self.oracle = receiver, kafka, oracle
        self.chance = random.Random(seed)
        self.faults: list[Callable[[], Awaitable[None]]] = [
            self.calm,
            self.broker_hangs,
            self.broker_dies,
            self.receiver_dies,
            self.receiver_stops,
            self.receiver_dies_while_broker_hangs,
            self.worker_dies,
        ]

    async def run(self, minutes: float) -> None:
        """Walk until the time is over."""
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            fault = self.chance.choice(self.faults)
            async with self.oracle.phase(fault.__name__) as phase:
                await asyncio.sleep(1)
                await fault()
                await asyncio.sleep(1)
                await self.receiver.drained(phase, 60)
            print(phase.line(), f"memory {self.memory_mib():.0f} MiB", flush=True)  # noqa: T201

    def memory_mib(self) -> float:
        """What the receiver's processes hold."""
        group = str(self.receiver.child.pid)
        total = 0
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if (path / "stat").read_text().rsplit(")", 1)[1].split()[2] == group:
                    total += int((path / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except OSError:
                continue
        return total / 2**20

    async def calm(self) -> None:
        await asyncio.sleep(self.chance.uniform(1, 5))

    async def broker_hangs(self) -> None:
        self.kafka.pause()
        await asyncio.sleep(self.chance.uniform(0.2, 8))
        self.kafka.resume()

    async def broker_dies(self) -> None:
        self.kafka.kill()
        await asyncio.sleep(self.chance.uniform(0, 5))
        await asyncio.to_thread(self.kafka.start)

    async def receiver_dies(self) -> None:
        self.receiver.child.kill()
        self.oracle.forget_connections()
        await asyncio.to_thread(self.receiver.start)

    async def receiver_stops(self) -> None:
        self.receiver.child.signal(signal.SIGTERM)
        assert await asyncio.to_thread(self.receiver.child.wait, 25) == 0
        self.oracle.forget_connections()
        await asyncio.to_thread(self.receiver.start)

    async def receiver_dies_while_broker_hangs(self) -> None:
        self.kafka.pause()
        await asyncio.sleep(self.chance.uniform(0.5, 4))
        await self.receiver_dies()
        self.kafka.resume()

    async def worker_dies(self) -> None:
        self._kill_one_worker()
        await asyncio.sleep(3)

    def _kill_one_worker(self) -> None:
        pid = self.receiver.child.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            os.kill(int(self.chance.choice(children)), signal.SIGKILL)


async def soak(options: argparse.Namespace) -> int:
    """Run it; the exit code."""
    with tempfile.TemporaryDirectory(prefix="soak-") as name, jars(os.environ, print) as kafka:
        processes = Processes(Path(name))
        try:
            receiver = Receiver(processes, kafka, Path(name), PREFIX, options.workers)
            made_topics(kafka, PREFIX)
            receiver.start()
            oracle = Oracle(receiver.port, seed=options.seed, rate=options.rate)
            run = Soak(receiver, kafka, oracle, options.seed)
            await asyncio.sleep(1)
            first = run.memory_mib()
            await run.run(options.minutes)
            await until(lambda: not receiver.waiting, 60)
            fresh = await oracle.one(Phase("fresh"))
            last = run.memory_mib()
        finally:
            processes.stop_all()
        verdict = await asyncio.to_thread(oracle.judge, kafka.bootstrap_servers, PREFIX)
    slowest = max(phase.slowest_seconds for phase in oracle.phases)
    memory = f"memory {first:.0f} -> {last:.0f} MiB"
    print(f"seed {options.seed}: {verdict.line()}; slowest {slowest:.2f} s; {memory}")  # noqa: T201
    late = any(phase.slowest_seconds > ANSWER_WITHIN_SECONDS + phase.late_seconds for phase in oracle.phases)
    good = not (verdict.losses or verdict.strangers or verdict.wrong or late) and fresh == "200"
    return 0 if good else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--metrics-minutes", type=float, default=5)
    options = parser.parse_args()
    code = asyncio.run(soak(options)) if options.minutes else 0
    right = not options.metrics_minutes or soak_workers.soak(options.metrics_minutes, seed=options.seed, rate=200)
    return code if right else 1


if __name__ == "__main__":
    sys.exit(main())
