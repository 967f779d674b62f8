"""The oracle of the fault tests: what it takes for what."""

import asyncio

import pytest

from app.demo.ports import LOOPBACK
from tests import oracle
from tests.oracle import Oracle, Phase


@pytest.mark.parametrize("status", ["hung", "lost"])
async def test_a_receiver_that_says_nothing_is_not_one_that_is_gone(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time-out is an OSError too, as a broken connection is."""
    monkeypatch.setattr(oracle, "HUNG_SECONDS", 0.2)

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if status == "lost":
            writer.close()

    async with await asyncio.start_server(serve, LOOPBACK, 0) as server:
        assert await Oracle(server.sockets[0].getsockname()[1], seed=1, rate=1).one(Phase("one")) == status
