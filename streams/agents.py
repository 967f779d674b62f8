"""The Faust agent, a shell: it hands each chunk on. No arithmetic, and no data error ends it."""

from collections.abc import AsyncIterable
from typing import Any

import mode

from streams.chunks import Fetched
from streams.partitions import Partitions


def count_flows(app: Any, topic: Any, partitions: Partitions) -> Any:
    """The agent over the flow topic. An error of ours crashes the worker, to be started again: no chunk is skipped."""

    @app.agent(topic, name="count-flows", supervisor_strategy=mode.CrashingSupervisor)  # type: ignore[untyped-decorator]
    async def count(chunks: AsyncIterable[Fetched]) -> None:
        async for chunk in chunks:
            try:
                await partitions.count(chunk)
            finally:
                app.consumer.counted(chunk)

    return count
