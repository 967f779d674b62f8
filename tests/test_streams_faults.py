"""Workers are killed, paused, scaled, the broker crashes, under load: each DID's figures equal a recount at the end.

This is the guard of streams/chunks.py (Faust's privates) and of the fence in streams/changelog.py.
`FAULT_ROUNDS=20` repeats the faults; `make soak` does.
"""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from app.demo.kafka_node import KafkaNode
from tests.flow_traffic import FlowTopic, Workers, wait
from tests.processes import Processes

pytestmark = [pytest.mark.broker, pytest.mark.slow]

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))
LOST_AFTER_SECONDS = 9  # the session's 6 s, and the others' assignment


def test_figures_are_exact_whatever_dies(own_kafka: KafkaNode, prefix: str, process: Processes, tmp_path: Path) -> None:
    topic = FlowTopic(own_kafka.bootstrap_servers, prefix)
    topic.create()
    workers = Workers(process, topic, tmp_path)
    workers.start(0)
    workers.start(1)
    workers.wait_ready(0, 1)
    with topic.traffic(rate=200):
        for seed in range(ROUNDS):
            one_of_each(workers, own_kafka, random.Random(seed))
    workers.wait_idle()
    assert len(topic.sent) > 4000 * ROUNDS
    assert topic.wrong() == []
    for child in workers.running.values():
        child.signal(signal.SIGTERM)
    wait(lambda: all(child.returncode == 0 for child in workers.running.values()), 8)


def one_of_each(workers: Workers, broker: KafkaNode, rng: random.Random) -> None:
    """Scaled to three, one killed, one made a zombie, the broker crashed; two are left."""
    workers.start(2)
    time.sleep(rng.uniform(3, 6))
    workers.running.pop(2).kill()
    zombie = workers.running[1]
    zombie.signal(signal.SIGSTOP)
    time.sleep(LOST_AFTER_SECONDS)
    zombie.signal(signal.SIGCONT)
    time.sleep(rng.uniform(0, 4))
    workers.running[0].kill()
    workers.start(0)
    time.sleep(rng.uniform(0, 3))
    broker.kill()
    time.sleep(rng.uniform(0, 3))
    broker.start()
    workers.wait_ready(0, 1, within_seconds=60)
