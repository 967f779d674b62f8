"""The state's log on a real Kafka: what was committed is read, whoever else has begun to write beside it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from app.demo.ports import LOOPBACK, free_port
from app.topics import create_topics
from schemas.settings import read_settings
from streams import changelog, connection
from streams.changelog import Place, Writer


@pytest.fixture
async def place(kafka: Any, prefix: str) -> Place:
    environ = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PHONON_TOPIC_PREFIX": prefix}
    settings = read_settings(environ | {"PHONON_TOPIC_PARTITIONS": "1"})
    await asyncio.to_thread(create_topics, settings)
    log, source = f"{prefix}.did-metrics.v1", f"{prefix}.flow.v1"
    return Place(f"{prefix}-metrics", log, source, 0, connection.arguments(settings.kafka))


@pytest.fixture
async def left_open(place: Place) -> AsyncIterator[None]:
    """Groups' owner died within a transaction that it had begun before the partition's last one."""
    dead, writer = Writer(place, "groups"), Writer(place)
    await dead.open()
    await dead._producer.begin_transaction()
    await dead._producer.send_and_wait(place.changelog, b"never", key=b"group", partition=0)
    await writer.open()
    await writer.write([(place.changelog, b"did", b"counted", [])], next_offset=None)
    await writer.close()
    yield
    await dead._producer.stop()


@pytest.mark.usefixtures("left_open")
async def test_what_was_committed_behind_an_open_transaction_is_read_once_that_has_ended(place: Place) -> None:
    """Else who takes over knows less than what was written last, and an alert would ring twice."""
    found: dict[bytes, bytes | None] = {}
    reading = asyncio.create_task(changelog.read(place, found.__setitem__, lambda _ratio: None))
    await asyncio.wait({reading}, timeout=1)
    assert not reading.done()
    successor = Writer(place, "groups")
    await successor.open()
    async with asyncio.timeout(2):
        await reading
    assert found == {b"did": b"counted"}
    await successor.close()


@pytest.mark.usefixtures("left_open")
async def test_a_transaction_that_nobody_ends_is_told_and_not_waited_for(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Kafka can lose sight of one for good."""
    found: dict[bytes, bytes | None] = {}
    async with asyncio.timeout(10):
        first, end = await changelog.read(place, found.__setitem__, lambda _ratio: None)
    assert (first, end, found) == (0, 0, {})
    assert f"a transaction is open in {place.changelog} at offset 0" in caplog.text


async def test_reading_that_stands_still_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka fetches in silence, and asks for offsets for ever, where no broker that it knows is left."""
    monkeypatch.setattr(changelog, "STILL_SECONDS", 1.0)
    writer = Writer(place)
    await writer.open()
    await writer.write([(place.changelog, b"did", b"counted", [])], next_offset=None)
    await writer.close()

    async def nothing(*_: object, **__: object) -> dict[Any, Any]:
        await asyncio.sleep(0.1)
        return {}

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", nothing)
    async with asyncio.timeout(10) as whole:
        with pytest.raises(TimeoutError):
            await changelog.read(place, lambda *_: None, lambda _ratio: None)
    assert not whole.expired()


async def test_where_nobody_answers_nothing_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka would complain of that into the log, at each new try."""
    made: list[Any] = []

    def make(**arguments: Any) -> Any:
        made.append(AIOKafkaConsumer(**arguments))
        return made[-1]

    monkeypatch.setattr(changelog, "AIOKafkaConsumer", make)
    nowhere = Place("g", "log", "source", 0, {"bootstrap_servers": [f"{LOOPBACK}:{free_port()}"]})
    for asking in (changelog.first_from(nowhere, 0), changelog.read(nowhere, lambda *_: None, lambda _ratio: None)):
        with pytest.raises(KafkaError):
            await asking
    await asyncio.sleep(0)
    assert [consumer._closed for consumer in made] == [True, True]
