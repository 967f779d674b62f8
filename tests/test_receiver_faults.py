"""The receiver is killed, is stopped, and has more to do than it may: nothing acknowledged is lost."""

from pathlib import Path

import pytest

from app.demo.kafka_node import KafkaNode
from tests.faults import judged, receiver_dies, receiver_stops, steady, too_much, under_test
from tests.processes import Processes

pytestmark = [pytest.mark.alone, pytest.mark.broker, pytest.mark.slow]


@pytest.mark.parametrize("workers", [1, 2])
async def test_nothing_is_lost_when_the_receiver_fails(
    workers: int, process: Processes, own_kafka: KafkaNode, prefix: str, tmp_path: Path
) -> None:
    receiver, oracle = under_test(process, own_kafka, tmp_path, prefix, workers)
    await steady(oracle, receiver)
    await receiver_dies(oracle, receiver, own_kafka)
    await receiver_stops(oracle, receiver, twice=workers == 2)
    await too_much(oracle, receiver, own_kafka)
    await judged(oracle, receiver, own_kafka)
