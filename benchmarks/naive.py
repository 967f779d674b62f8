"""Two ways that one would write first, for comparison: events as JSON, 200 after all acknowledgements.

    gather   aiokafka, one send_and_wait per event, gathered
    flush    confluent-kafka, produce and then flush in a thread

Neither checks a signature, normalises, gives ids, spools, or answers in time when Kafka is away.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from schemas.topics import topic_name

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Event = tuple[str, bytes, bytes]  # topic, key, value
Publish = Callable[[list[Event]], Awaitable[None]]

SERVERS = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
PREFIX = os.environ.get("PHONON_TOPIC_PREFIX", "phonon")
SECTIONS = {"callDetails": "CallLeg", "smsDetails": "Sms", "emailDetails": "Email", "keys": "FlowKey"}


def events(body: bytes) -> Iterator[Event]:
    """The eight events of the sample."""
    document = json.loads(body)["body"]
    did = document["callDetails"][0]["didNumber"].encode()
    rows = [(record, row) for section, record in SECTIONS.items() for row in document.get(section, ())]
    rows += [("Dtmf", press) for leg in document.get("callDetails", ()) for press in leg["dtmfPressesd"]]
    rows += [("Recording", row) for row in document.get("recordingUrls", ())]
    rows += [("Flow", {"legs": document.get("callDetails", ())})]
    for record, row in rows:
        yield topic_name(PREFIX, record), did, json.dumps({"flow_id": document["phonon-uuid"], **row}).encode()


class Naive:
    """An ASGI app around one way to publish, made ready by `opened`."""

    def __init__(self, opened: Callable[[], Awaitable[Publish]]) -> None:
        self._opened = opened
        self._publish: Publish

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Lifespan, or one delivery."""
        if scope["type"] == "lifespan":
            await receive()
            self._publish = await self._opened()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await self._publish(list(events(body)))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})


async def gathering() -> Publish:
    """aiokafka: one future an event."""
    producer = AIOKafkaProducer(
        bootstrap_servers=SERVERS, acks="all", enable_idempotence=True, linger_ms=3, compression_type="lz4"
    )
    await producer.start()

    async def publish(records: list[Event]) -> None:
        await asyncio.gather(*(producer.send_and_wait(topic, value, key=key) for topic, key, value in records))

    return publish


async def flushing() -> Publish:
    """confluent-kafka: a flush per delivery, in a thread."""
    producer = Producer({"bootstrap.servers": SERVERS, "acks": "all", "enable.idempotence": True, "linger.ms": 3})

    async def publish(records: list[Event]) -> None:
        for topic, key, value in records:
            producer.produce(topic, value, key)
        await asyncio.to_thread(producer.flush, 10)

    return publish


gather = Naive(gathering)
flush = Naive(flushing)
