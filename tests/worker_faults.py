"""The faults of workers, one after the other, and the longest silence in the metrics that each of them causes.

A silence is the longest time between two metrics records of one partition, by Kafka's timestamps, while flows come in
steadily; half a second of calm follows each fault. After it there are two workers again, 0 and 1, both ready.
"""

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

from app.demo.kafka_node import KafkaNode
from tests.flow_traffic import PARTITIONS, FlowTopic, Workers
from tests.patience import eventually

TAKEN_OVER_WITHIN_SECONDS = 30.0
CALM_SECONDS = 0.5
HANGS_SECONDS = 8.0  # sessions are over after 6


class Phase(NamedTuple):
    """A fault, and from when to when its silence counts, ms."""

    name: str
    begun: int
    ended: int


class Faults:
    """The faults, done to two workers of a topic and to its broker."""

    def __init__(self, workers: Workers, broker: KafkaNode, seed: int) -> None:
        self.workers, self.broker, self.chance = workers, broker, random.Random(seed)
        self.phases: list[Phase] = []
        self.kills = 0

    @property
    def all(self) -> tuple[Callable[[], None], ...]:
        return self.killed_and_scaled, self.zombie, self.broker_crash, self.broker_hang

    def killed_and_scaled(self) -> None:
        """kill -9 of one and the other takes over; two more come, and two go in order; a rolling restart."""
        victim = self.chance.choice((0, 1))
        with self._phase("kill -9 of one of two"):
            self.workers.running.pop(victim).kill()
            self.kills += 1
            self._owns_all(1 - victim)
        with self._phase("scaled from 1 to 3"):
            self._start(victim, 2)
        with self._phase("scaled from 3 to 1"):
            self._stop(1 - victim, 2)
            self._owns_all(victim)
        with self._phase("rolling restart of two"):
            self._start(1 - victim)
            self._stop(victim)
            self._start(victim)

    def zombie(self) -> None:
        """One is paused until the other has all, and wakes up believing that it is an owner."""
        sleeper = self.chance.choice((0, 1))
        child = self.workers.running[sleeper]
        with self._phase("SIGSTOP of one of two"):
            child.signal(signal.SIGSTOP)
            self._owns_all(1 - sleeper)
        with self._phase("the zombie wakes up"):
            child.signal(signal.SIGCONT)
            time.sleep(1)  # it learns by its next heartbeat
            self.workers.wait_ready(0, 1)

    def broker_crash(self) -> None:
        """The broker is killed, a worker too, and both come back."""
        victim = self.chance.choice((0, 1))
        with self._phase("broker and worker crash"):
            self.broker.kill()
            self.workers.running.pop(victim).kill()
            self.kills += 1
            self.workers.start(victim)
            self.broker.start()
            self.workers.wait_ready(0, 1, within_seconds=60)

    def broker_hang(self) -> None:
        """The broker hangs until all sessions are over. Once back, it names no brokers, and partitions change hands."""
        with self._phase("broker hangs"):
            self.broker.pause()
            time.sleep(HANGS_SECONDS)
            self.broker.resume()
            time.sleep(1)  # until then they do not know
            self.workers.wait_ready(0, 1, within_seconds=60)

    def silences(self, topic: FlowTopic) -> dict[str, float]:
        """The longest silence of each kind of fault so far, seconds."""
        times: dict[int, list[int]] = {number: [] for number in range(PARTITIONS)}
        for message in topic.messages("DidMetrics"):
            times[message.partition()].append(message.timestamp()[1])
        longest: dict[str, float] = {}
        for name, begun, ended in self.phases:
            gaps = [_longest_gap(sorted(stamps), begun, ended) for stamps in times.values()]
            longest[name] = max(longest.get(name, 0.0), *gaps)
        return longest

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        begun = time.time_ns() // 1_000_000
        yield
        time.sleep(CALM_SECONDS)
        self.phases.append(Phase(name, begun, time.time_ns() // 1_000_000))

    def _start(self, *numbers: int) -> None:
        for number in numbers:
            self.workers.start(number)
        self.workers.wait_ready(*self.workers.running)

    def _stop(self, *numbers: int) -> None:
        children = [self.workers.running.pop(number) for number in numbers]
        for child in children:
            child.signal(signal.SIGTERM)
        eventually(lambda: all(child.returncode == 0 for child in children), 10)

    def _owns_all(self, number: int) -> None:
        eventually(lambda: self.workers.figure(number, "phonon_partitions") == PARTITIONS, TAKEN_OVER_WITHIN_SECONDS)
        self.workers.wait_ready(number)


def _longest_gap(stamps: list[int], begun: int, ended: int) -> float:
    """Between two records, or from the fault on, or up to its end, in seconds."""
    inside = [stamp for stamp in stamps if begun <= stamp <= ended]
    return max(after - before for before, after in pairwise([begun, *inside, ended])) / 1000
