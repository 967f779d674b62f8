"""The broker hangs, dies, and is not there at the start: nothing acknowledged is lost, and nobody waits for it."""

from pathlib import Path

import pytest

from app.demo.kafka_node import KafkaNode
from tests.faults import broker_dies, broker_hangs, judged, no_broker_at_start, steady, under_test
from tests.processes import Processes

pytestmark = [pytest.mark.alone, pytest.mark.broker, pytest.mark.slow]


@pytest.mark.parametrize("workers", [1, 2])
async def test_nothing_is_lost_when_the_broker_fails(
    workers: int, process: Processes, own_kafka: KafkaNode, prefix: str, tmp_path: Path
) -> None:
    receiver, oracle = under_test(process, own_kafka, tmp_path, prefix, workers)
    await steady(oracle, receiver)
    await broker_hangs(oracle, receiver, own_kafka)
    await broker_dies(oracle, receiver, own_kafka)
    await no_broker_at_start(oracle, receiver, own_kafka)
    await judged(oracle, receiver, own_kafka)
