"""Reading the topics for a person or a pipe: every record is one JSON line, whatever its bytes are.

A value that is no record of ours is shown as base64 with the reason: looking at a topic must not depend on what is in
it. Nothing is committed, so looking changes nothing. Source of the line's fields: the contract's section 1.
"""

import itertools
import json
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from app.cluster import (
    ANSWER_WITHIN_S,
    ONLOOKER,
    POLL_S,
    ClusterError,
    Errors,
    ask,
    begin_at,
    connect,
    look,
    refuse_lost,
)
from schemas import Resolve, Undecodable, decode, without_registry
from schemas.registry import resolver
from schemas.settings import Settings
from schemas.topics import RAW, TOPICS, raw_topic_name, topic_name

GROUP: Final = "phonon-events-tail"
BATCH: Final = 500
JSON: Final = b"application/json"
#: What JSON need not escape and a terminal obeys: strangers write the texts of SMS and e-mails.
CONTROLS: Final = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


class UnknownTopic(ValueError):  # noqa: N818 - it names what was asked for
    """A topic that is none of ours."""


def full_names(prefix: str, wanted: Sequence[str]) -> list[str]:
    """Topics as Kafka knows them, from full (phonon.flow.v1) or short names (flow); none wanted: all of ours."""
    records = {topic.name: topic_name(prefix, topic.record) for topic in TOPICS}
    known = records | {RAW.name: raw_topic_name(prefix)}
    for name in wanted:
        if name not in known and name not in known.values():
            raise UnknownTopic(f"unknown topic {name!r}: one of {', '.join(known)}")
    return list(dict.fromkeys(known.get(name, name) for name in wanted or records))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which records: from the beginning, from a time on (Kafka's timestamp, in ms) or only new ones, at most `count`,
    and whether to wait for more.
    """

    from_beginning: bool = False
    since: int | None = None
    count: int | None = None
    follow: bool = True


def tail(settings: Settings, topics: Sequence[str], out: TextIO, span: Span) -> None:
    """Writes records as lines, each flushed, until the span is over. Raises ClusterError."""
    errors = Errors(settings.kafka["bootstrap.servers"])
    consumer = connect(Consumer, settings.kafka, errors, group_id=GROUP, **ONLOOKER)
    try:
        found = look(consumer, errors).topics
        places = ask(consumer, errors, lambda: _places(consumer, found, topics, span))
        consumer.assign(places)
        resolve = resolver(settings)
        came = _messages(consumer, errors, len(places), follow=span.follow)
        wanted = (message for message in came if message.timestamp()[1] >= (span.since or 0))  # clocks may disagree
        for message in itertools.islice(wanted, span.count):
            out.write(line(message, resolve) + "\n")
            out.flush()
    finally:
        consumer.close()


def line(message: Message, resolve: Resolve = without_registry) -> str:
    """One record as a line of JSON; `resolve` says what a schema registry's ids mean."""
    headers: Any = message.headers() or ()  # a list of pairs, whatever the stubs say
    shown = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
        "key": _text(message.key()),
        "headers": {name: _text(value) for name, value in headers},
    }
    try:
        value = _document(message.value()) if _is_document(headers) else _decoded(message.value(), resolve)
        text = json.dumps(shown | value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError) as odd:  # a number that JSON has no word for, a text that is no Unicode
        text = json.dumps(shown | _raw(message.value(), str(odd)), ensure_ascii=False)
    return text.translate(CONTROLS)


def _is_document(headers: Any) -> bool:
    """Whether the value is a document and no record: a raw body."""
    return ("content-type", JSON) in headers


def _document(value: bytes | None) -> dict[str, Any]:
    """A raw body; raises ValueError where Python can't hold what it says."""
    return {"record": None, "value": json.loads(value or b"null")}


def _decoded(value: bytes | None, resolve: Resolve) -> dict[str, Any]:
    if value is None:
        return {"record": None, "value": None}
    try:
        record, fields = decode(value, resolve)
    except Undecodable as reason:
        return _raw(value, str(reason))
    return {"record": record, "value": fields}


def _raw(value: bytes | None, reason: str) -> dict[str, Any]:
    return {"record": None, "error": reason, "base64": b64encode(value or b"").decode()}


def _text(value: bytes | str | None) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _places(consumer: Consumer, found: Any, topics: Sequence[str], span: Span) -> list[TopicPartition]:
    """Where to begin in each partition; its end is looked up now, so that nothing written from now on is missed."""
    missing = [name for name in topics if name not in found or found[name].error is not None]
    if missing:
        raise ClusterError(f"no topic {missing[0]} on this Kafka: `phonon-events topics create` makes it")
    places = [TopicPartition(name, partition) for name in topics for partition in found[name].partitions]
    for place in places:
        place.offset = OFFSET_BEGINNING
        if not span.from_beginning:
            place.offset = consumer.get_watermark_offsets(place, timeout=ANSWER_WITHIN_S)[1]
    if span.since is not None:
        begin_at(consumer, places, span.since)
    return places


def _messages(consumer: Consumer, errors: Errors, partitions: int, *, follow: bool) -> Iterator[Message]:
    """Records as they come; without `follow` they end when every partition has been read to its end.

    Only then is silence a failure: until its end there is always something to read. What is written meanwhile to a
    partition that was read to its end is no sign of life from the others.
    """
    at_end: set[tuple[str | None, int | None]] = set()
    silent_s = 0.0
    while follow or len(at_end) < partitions:
        asked, batch = time.monotonic(), consumer.consume(BATCH, POLL_S)
        waited = time.monotonic() - asked if batch else POLL_S
        silent_s = silent_s + waited if at_end.issuperset(map(_place, batch)) else 0.0
        if silent_s > ANSWER_WITHIN_S and not follow:
            raise ClusterError(f"Kafka at {errors.servers} fell silent: {errors.reason or 'no reason given'}")
        for message in batch:
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                at_end.add(_place(message))
            else:
                refuse_lost(message)


def _place(message: Message) -> tuple[str | None, int | None]:
    return message.topic(), message.partition()
