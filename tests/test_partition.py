"""A partition's flush, with neither Kafka nor a worker around it."""

import asyncio
import random
from typing import Any, cast

from schemas.settings import Window, read_settings
from streams.changelog import Place, Sent
from streams.framing import Framing
from streams.partition import Partition, Ports, Topics
from streams.rules import NO_RULES
from streams.table import Table
from streams.windows import Flow

NOW = 1_800_000_000_000
WINDOWS = (Window("5m", 300),)


class Written:
    """Takes what a flush writes."""

    def __init__(self) -> None:
        self.records: list[Sent] = []

    async def write(self, records: list[Sent], *, next_offset: int | None) -> None:
        self.records += records


async def test_others_have_their_turns_while_thousands_of_dids_go_quiet_together() -> None:
    """200 rules looking at 5,000 DIDs held the worker for 1.2 s a minute."""

    async def seek(partition: int, offset: int) -> None:
        raise AssertionError

    framing = Framing(read_settings({}))
    ports = Ports(WINDOWS, NO_RULES, Topics("m", "a", "r"), seek, framing, now_ms=lambda: NOW + 300_000)
    partition = Partition(Place("g", "c", "s", 0, {}), ports)
    partition.table, rng, written = Table([5]), random.Random(1), Written()
    for number in range(1_000):
        flow = Flow(f"D{number}", rng.randbytes(16), NOW, 1, 0, False, [], [])
        partition.table.add(flow, timestamp=NOW, now=NOW)
    partition.table.take(now=NOW, seconds=0, most=1_000)
    flush = asyncio.create_task(partition._flush(cast(Any, written)))
    turns = 0
    while not flush.done():
        turns += 1
        await asyncio.sleep(0)
    await flush
    assert turns >= 4
    assert sum(topic == "m" for topic, *_ in written.records) == 1_000
    assert not partition.table.dids
