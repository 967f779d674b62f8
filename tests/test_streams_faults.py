"""Golden run against failure run: workers die in every way, the broker crashes, and the last records are the same.

The same flows, the synthetic provider's and random ones, go to two topics with the same timestamps: one is counted by
one worker that nothing happens to. Each DID's last records equal each other, a recount, and the provider's own account.
This is the guard of streams/chunks.py (Faust's privates) and of the fence in streams/changelog.py.
`FAULT_ROUNDS=20` repeats the faults; `make soak` does them in any order, for minutes.
"""

import os
import signal
from pathlib import Path

import pytest

from app.demo.kafka_node import KafkaNode
from tests import golden
from tests.flow_traffic import FlowTopic, Workers
from tests.patience import eventually
from tests.processes import Processes
from tests.worker_faults import Faults

pytestmark = [pytest.mark.broker, pytest.mark.slow]

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))
SLACK = float(os.environ.get("FAULT_SLACK", "1.5"))  # for machines that do other things too
SILENT_SECONDS = 10.0  # at most, as long as there is a broker


def test_what_comes_out_is_the_same_whatever_dies(
    own_kafka: KafkaNode, prefix: str, process: Processes, tmp_path: Path
) -> None:
    rough = FlowTopic(own_kafka.bootstrap_servers, prefix)
    calm = FlowTopic(own_kafka.bootstrap_servers, f"{prefix}-calm")
    for topic in (rough, calm):
        topic.create()
    provided = golden.Provided(seed=1)
    workers = Workers(process, rough, tmp_path)
    workers.start(0)
    workers.start(1)
    workers.wait_ready(0, 1)
    faults = Faults(workers, own_kafka, seed=1)
    with rough.traffic(100, iter(provided)):
        for fault in faults.all * ROUNDS:
            fault()
    moment = golden.close(rough)
    undisturbed = Workers(process, calm, tmp_path)
    undisturbed.start(0)
    calm.follow(rough)
    undisturbed.wait_idle()
    workers.wait_idle()

    silences = faults.silences(rough)
    print(f"{faults.kills} killed; longest silence, s: {silences}")  # noqa: T201 - pytest -s shows it
    disturbed, golden_run = rough.latest(), calm.latest()
    assert {metrics["as_of"] for metrics in golden_run.values()} == {moment}
    assert disturbed == golden_run
    assert rough.wrong(disturbed) == []
    assert golden.wrong_accounts(provided, rough, disturbed, moment) == []
    assert len(provided.account) > 2000 * ROUNDS
    too_long = {name: gap for name, gap in silences.items() if gap > SILENT_SECONDS * SLACK and "broker" not in name}
    assert too_long == {}
    for child in workers.running.values():
        child.signal(signal.SIGTERM)
    eventually(lambda: all(child.returncode == 0 for child in workers.running.values()), 8)
