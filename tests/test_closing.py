"""Clients that are let go: waited for by nobody, and what they end with is no news."""

import asyncio
import gc
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError, ProducerFenced

from app.demo.broker import Broker
from streams import closing


async def fails() -> None:
    raise KafkaConnectionError("gone")


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_a_client_ends_with_is_no_news(caplog: pytest.LogCaptureFixture, cancelled: bool) -> None:
    task = closing.let_go(fails())
    assert task in closing._CLOSING, "nobody else holds it"
    if cancelled:
        task.cancel()
    await asyncio.wait({task})
    await asyncio.sleep(0)
    assert not closing._CLOSING
    del task
    gc.collect()
    assert caplog.messages == []


async def fetch_fails(kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """A consumer that rests after a fetch that failed."""
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, retry_backoff_ms=60_000)
    await consumer.start()
    await consumer._client.force_metadata_update()
    place = TopicPartition("phonon.flow.v1", 0)
    monkeypatch.setattr(consumer._client.cluster, "leader_for_partition", lambda _: 1)
    monkeypatch.setattr(consumer._client, "send", lambda *_: fails())
    consumer.assign([place])
    consumer.seek(place, 0)
    await asyncio.sleep(0.5)
    assert consumer._fetcher._pending_tasks
    return consumer, consumer._client


async def is_fenced(kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """A producer that hears, while it stops, that another has its place."""
    producer: Any = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id="closing")

    async def fenced(_: object) -> None:
        await asyncio.sleep(0.5)
        raise ProducerFenced

    await producer.start()
    await producer.begin_transaction()
    monkeypatch.setattr(producer._sender, "_do_add_offsets_to_txn", fenced)
    transactions = producer._txn_manager
    for future in (transactions.add_offsets_to_txn({}, "group"), transactions._transaction_waiter):
        future.add_done_callback(lambda told: told.exception())
    await asyncio.sleep(0.1)
    return producer, producer.client


@pytest.mark.broker
@pytest.mark.parametrize("left", [fetch_fails, is_fenced])
async def test_a_client_that_fails_while_it_stops_lets_go_of_its_connections(
    kafka: Broker, monkeypatch: pytest.MonkeyPatch, left: Any
) -> None:
    """It stayed in memory, connected, and asked for metadata for as long as the process lived."""
    client, inner = await left(kafka, monkeypatch)
    assert inner._sync_task is not None
    await asyncio.wait({closing.let_go(closing.stop(client))}, timeout=10)
    assert inner._sync_task is None
    assert not any(connection.connected() for connection in inner._conns.values())
