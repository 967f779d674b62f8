"""tail shows whatever stands on a topic: a record as its fields, anything else as base64 with the reason."""

import io
import json
import os
import subprocess
import threading
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, Producer
from hypothesis import given
from hypothesis import strategies as st

from app.cluster import ClusterError, Errors
from app.past import Past
from app.tail import Span, UnknownTopic, _messages, full_names, line, tail
from app.topics import create_topics
from schemas import encode
from schemas.settings import Settings, read_settings
from schemas.topics import TOPICS
from tests import alerts
from tests.processes import SCRIPT, clean_environment

KEY = {"flow_id": "f", "did": "+912243692987", "occurred_at": 1, "received_at": 2, "anomalies": [], "extra": {}}
FLOW_KEY = KEY | {"event_id": "e", "name": "$flow.key.n", "value": "wert ₹"}
ENCODED = encode("FlowKey", FLOW_KEY)


def stored(value: bytes | None, key: bytes | None = b"k", headers: Any = None, error: Any = None) -> Message:
    """A message as librdkafka gives it."""
    at = (1, 1_700_000_000_000)
    return Message("phonon.key.v1", 3, 7, key=key, value=value, headers=headers, error=error, timestamp=at)


def shown(*args: Any, **kwargs: Any) -> dict[str, Any]:
    text = line(stored(*args, **kwargs))
    assert "\n" not in text
    read: dict[str, Any] = json.loads(text)
    return read


def test_a_record_is_shown_whole() -> None:
    assert shown(ENCODED, headers=[("ce_id", b"e"), ("empty", None)]) == {
        "topic": "phonon.key.v1",
        "partition": 3,
        "offset": 7,
        "timestamp": 1_700_000_000_000,
        "key": "k",
        "headers": {"ce_id": "e", "empty": None},
        "record": "FlowKey",
        "value": FLOW_KEY,
    }


def test_an_alert_is_shown_as_any_record() -> None:
    seen = shown(alerts.value(1))
    assert (seen["record"], seen["value"]) == ("DidAlert", alerts.fields(1))


def test_a_raw_body_is_shown_as_the_document_it_is() -> None:
    headers = [("content-type", b"application/json")]
    seen = shown(b'{"phonon-uuid": "f"}', headers=headers)
    assert (seen["record"], seen["value"]) == (None, {"phonon-uuid": "f"})
    for body in (b"no json", b"\xff", b'{"size": 1e400}', b'"\\ud800"', b"[" * 100_000):
        assert shown(body, headers=headers)["base64"] == b64encode(body).decode()


def test_a_tombstone_is_a_record_without_value() -> None:
    assert {name: shown(None)[name] for name in ("record", "value")} == {"record": None, "value": None}


@given(st.binary())
def test_any_bytes_are_shown_and_nothing_of_them_is_lost(value: bytes) -> None:
    seen = shown(value, key=value, headers=[("h", value)])
    assert seen["base64"] == b64encode(value).decode()
    assert seen["error"]


def test_no_text_is_a_command_to_the_terminal() -> None:
    """Not even in the 8-bit form, of which JSON says nothing: \\x9b is what \\x1b[ is."""
    commands = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
    text = line(stored(encode("FlowKey", FLOW_KEY | {"value": commands}), key=commands.encode()))
    assert not [letter for letter in text if not letter.isprintable()]
    assert json.loads(text)["value"]["value"] == json.loads(text)["key"] == commands
    headers = [("content-type", b"application/json")]
    assert line(stored(json.dumps([commands]).encode(), headers=headers)).isprintable()
    assert line(stored(b"no record", key=commands.encode())).isprintable()


def test_numbers_that_json_has_no_word_for_are_shown_as_bytes() -> None:
    email = KEY | {"event_id": "e", "recipients": [], "size_kb": float("nan")}
    assert "base64" in shown(encode("Email", email | dict.fromkeys(("email_id", "sender", "subject", "content"))))


def test_names_are_given_in_full_or_short_and_all_by_default() -> None:
    assert full_names("x", ["flow", "x.call-leg.v1", "flow"]) == ["x.flow.v1", "x.call-leg.v1"]
    assert len(full_names("x", [])) == len(TOPICS) == 12
    with pytest.raises(UnknownTopic, match=r"'phonon\.flow\.v1'"):
        full_names("x", ["phonon.flow.v1"])


@pytest.fixture
def settings(kafka: Any, prefix: str) -> Settings:
    environ = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PHONON_TOPIC_PREFIX": prefix}
    return read_settings(environ | {"PHONON_TOPIC_PARTITIONS": "2"})


@pytest.fixture
def produce(settings: Settings) -> Iterator[Callable[..., None]]:
    create_topics(settings)
    producer = Producer({"bootstrap.servers": settings.kafka["bootstrap.servers"]})

    def send(topic: str, *values: bytes) -> None:
        for number, value in enumerate(values):
            producer.produce(f"{settings.topic_prefix}.{topic}.v1", value, key=str(number))
        assert producer.flush(10) == 0

    yield send
    producer.flush(10)


def read(settings: Settings, *names: str, **span: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    tail(settings, full_names(settings.topic_prefix, names), out, Span(**span))
    return [json.loads(row) for row in out.getvalue().splitlines()]


@pytest.mark.broker
def test_everything_from_the_beginning_or_a_count_of_it(settings: Settings, produce: Callable[..., None]) -> None:
    produce("key", *[ENCODED] * 20)
    produce("flow", b"no record of ours")
    rows = read(settings, from_beginning=True, follow=False)
    assert sorted(row["record"] or "-" for row in rows) == ["-", *["FlowKey"] * 20]
    assert len(read(settings, "key", from_beginning=True, count=5)) == 5
    assert read(settings, "key", follow=False) == []
    assert read(settings, "sms", from_beginning=True, follow=False) == []


@pytest.mark.broker
def test_from_a_time_on_by_the_timestamp_that_is_shown(settings: Settings, produce: Callable[..., None]) -> None:
    """Also where a clock went back in between: what is older is left out, before and after the place."""
    produce("sms", b"")  # now
    producer, topic = (
        Producer({"bootstrap.servers": settings.kafka["bootstrap.servers"]}),
        f"{settings.topic_prefix}.key.v1",
    )
    hour = 3_600_000
    began = int(time.time() * 1000)
    ages = {0: [3 * hour, 1 * hour, 3 * hour, hour // 6], 1: [3 * hour, 3 * hour]}
    for partition, many in ages.items():
        for age in many:
            producer.produce(topic, str(age).encode(), partition=partition, timestamp=began - age)
    assert producer.flush(10) == 0

    def came(since: int, **span: Any) -> list[int]:
        rows = read(settings, "key", since=since, follow=False, **span)
        return sorted(began - row["timestamp"] for row in rows)

    assert came(began - 2 * hour) == [hour // 6, hour]
    assert came(began - hour) == [hour // 6, hour]  # that very millisecond too
    assert came(began - hour + 1) == [hour // 6]
    assert came(began - 2 * hour, count=1) == [hour]
    assert came(began) == came(began + hour) == []
    assert came(-2) == came(-1) == came(0) == sorted([*ages[0], *ages[1]])  # to Kafka -1 and -2 are end and beginning
    assert [row["topic"] for row in read(settings, since=began - hour // 12, follow=False)] == [
        f"{settings.topic_prefix}.sms.v1"
    ]


@pytest.mark.broker
def test_from_a_time_on_it_goes_on_with_what_is_new(settings: Settings, produce: Callable[..., None]) -> None:
    """Also in a partition that had nothing of that time: it waits at its end, not at its beginning."""
    produce("key", b"before")
    time.sleep(0.05)
    since = int(time.time() * 1000)
    rows: list[dict[str, Any]] = []
    reading = threading.Thread(target=lambda: rows.extend(read(settings, "key", since=since, count=3)))
    reading.start()
    for value in (b"1", b"2", b"3"):
        time.sleep(0.5)
        produce("key", value)
    reading.join(20)
    assert [row["base64"] for row in rows] == [b64encode(value).decode() for value in (b"1", b"2", b"3")]


@pytest.mark.broker
def test_only_new_records_without_being_asked_for_older_ones(settings: Settings, produce: Callable[..., None]) -> None:
    produce("key", ENCODED, ENCODED)
    rows: list[dict[str, Any]] = []
    reading = threading.Thread(target=lambda: rows.extend(read(settings, "key", count=1)))
    reading.start()
    deadline = time.monotonic() + 20
    while reading.is_alive() and time.monotonic() < deadline:
        time.sleep(0.5)
        produce("key", b"new")
    reading.join(5)
    assert [row["base64"] for row in rows] == [b64encode(b"new").decode()]


@pytest.mark.broker
def test_a_topic_that_is_not_there_is_said_in_one_line(settings: Settings) -> None:
    with pytest.raises(
        ClusterError, match=r"no topic .*flow\.v1 on this Kafka: `phonon-events topics create` makes it"
    ):
        read(settings, "flow")


class Silent:
    """A consumer of a Kafka that is gone: nothing comes, not even the end of a partition."""

    def consume(self, _number: int, _timeout: float) -> list[Any]:
        return []


def test_a_kafka_that_falls_silent_before_the_end_is_said_in_one_line() -> None:
    errors = Errors("broker:9092")
    errors.reason = "Connection refused"
    with pytest.raises(ClusterError, match=r"^Kafka at broker:9092 fell silent: Connection refused$"):
        list(_messages(Silent(), errors, 1, follow=False))  # type: ignore[arg-type]


class Busy:
    """A consumer of two partitions: one at whose end records go on to come, and one whose leader is gone."""

    def consume(self, _number: int, _timeout: float) -> list[Any]:
        time.sleep(0.01)
        return [stored(b"new")]

    def list_topics(self, *_: object, **__: object) -> Any:
        partitions = {3: None, 4: None}
        return SimpleNamespace(topics={"phonon.key.v1": SimpleNamespace(error=None, partitions=partitions)})

    def get_watermark_offsets(self, place: Any, **_: object) -> tuple[int, int]:
        return 0, 5 if place.partition == 3 else 9

    def assign(self, _places: object) -> None:
        """All the same to it."""

    def close(self) -> None:
        """All the same to it."""


class AtEnd(Busy):
    """Busy, after it has said once that the partition is at its end."""

    said = False

    def consume(self, number: int, timeout: float) -> list[Any]:
        if self.said:
            return super().consume(number, timeout)
        self.said = True
        return [stored(None, error=KafkaError(KafkaError._PARTITION_EOF))]


def test_what_is_written_to_other_partitions_does_not_hide_that_one_fell_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.tail.ANSWER_WITHIN_S", 0.5)
    monkeypatch.setattr("app.past.ANSWER_WITHIN_S", 0.5)
    with pytest.raises(ClusterError, match="fell silent"):
        deque(_messages(AtEnd(), Errors("broker:9092"), 2, follow=False), maxlen=0)  # type: ignore[arg-type]
    monkeypatch.setattr("app.past.connect", lambda *_, **__: Busy())
    past = Past(read_settings({}), "phonon.key.v1", since_ms=None, way_out="")
    with pytest.raises(ClusterError, match="fell silent"):
        list(past)


class Marked(Busy):
    """A consumer of a partition whose last offset is no record but a transaction's marker, as on `rejected`."""

    def __init__(self) -> None:
        self.given = [[stored(b"new")], [stored(None, error=KafkaError(KafkaError._PARTITION_EOF))]]

    def consume(self, _number: int, _timeout: float) -> list[Any]:
        return self.given.pop(0) if self.given else []

    def get_watermark_offsets(self, place: Any, **_: object) -> tuple[int, int]:
        return 0, 1_000 if place.partition == 3 else 0


def test_an_end_that_holds_no_record_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.past.ANSWER_WITHIN_S", 0.5)
    monkeypatch.setattr("app.past.connect", lambda *_, **__: Marked())
    past = Past(read_settings({}), "phonon.key.v1", since_ms=None, way_out="")
    assert [message.value() for message in past] == [b"new"]


@pytest.mark.broker
def test_a_closed_pipe_ends_it_quietly(settings: Settings, produce: Callable[..., None], tmp_path: Path) -> None:
    produce("key", *[ENCODED] * 3_000)
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka["bootstrap.servers"],
        "PHONON_TOPIC_PREFIX": settings.topic_prefix,
    }
    done = subprocess.run(
        f"{SCRIPT} tail key --from-beginning | head -n 2; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        env=clean_environment(os.environ, environ),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 3
    assert (done.stdout.splitlines()[-1], done.stderr) == ("0", "")
