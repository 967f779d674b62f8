"""A raw record carries all that is needed to make the same records again."""

from pathlib import Path

import pytest

from app.drain import Drainer
from app.main import Receiver
from app.metrics import Metrics
from app.outlet import Outlet
from app.pipeline import make_pipeline
from app.publish import needed_topics
from app.raw import received
from app.segment import Row
from app.webhook import TRACEPARENT
from schemas.settings import read_settings
from schemas.topics import RAW, raw_topic_name, topic_config
from tests.fakes import FakePublisher
from tests.test_drain import spooled

PIPELINE = make_pipeline(read_settings({"PHONON_RAW_TOPIC": "true"}))
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BODY = b'{"phonon-uuid": "f 1",  "smsDetails": [{"id": "s"}]}'
AT = 1_763_838_226_007


def headers(body: bytes = BODY, trace: str = TRACE, at: int = AT) -> dict[str, bytes]:
    return dict(PIPELINE(Row(at, trace, body)).records[0].headers)


def test_the_body_goes_first_byte_for_byte_under_its_flow() -> None:
    made = PIPELINE(Row(AT, TRACE, BODY))
    raw = made.records[0]
    assert (raw.topic, raw.key, raw.value) == (raw_topic_name("phonon"), b"f 1", BODY)
    assert [record.topic for record in made.records[1:]] == ["phonon.sms.v1", "phonon.flow.v1"]
    assert headers() == {
        "ce_id": headers()["ce_id"],
        "ce_type": b"phonon.delivery.v1",
        "ce_time": b"2025-11-22T19:03:46.007Z",
        "ce_specversion": b"1.0",
        "ce_source": b"/phonon-events/receiver",
        "content-type": b"application/json",
        "traceparent": TRACE.encode(),
    }


def test_what_it_says_of_its_receipt_makes_the_same_records_again() -> None:
    assert TRACEPARENT.fullmatch(TRACE.encode())
    first = PIPELINE(Row(AT, TRACE, BODY)).records
    row = received(first[0].value, first[0].headers)
    assert row == Row(AT, TRACE, BODY)
    assert PIPELINE(row).records == first
    assert received(BODY, headers(trace="").items()) == Row(AT, "", BODY)


@pytest.mark.parametrize("sent", [[], [("ce_time", b"yesterday")], [("ce_time", b"2025-11-22T19:03:46")]])
def test_without_the_time_of_receipt_it_is_no_raw_record(sent: list[tuple[str, bytes]]) -> None:
    with pytest.raises(ValueError, match="no ce_time"):
        received(BODY, sent)


def test_its_id_is_the_same_for_a_retry_and_another_for_what_tells_anything_new() -> None:
    id_ = headers()["ce_id"]
    wrapped = b'{"body": {"smsDetails": [{"id": "s"}], "phonon-uuid": "f 1"}}'
    assert headers(wrapped, at=AT + 5)["ce_id"] == id_
    assert headers(BODY.replace(b'"s"', b'"s", "deliveryStatus": "DELIVERED"'))["ce_id"] != id_


def test_none_without_the_setting_and_none_before_records_can_be_framed() -> None:
    assert make_pipeline(read_settings({})).raw is None
    waiting = make_pipeline(read_settings({"PHONON_RAW_TOPIC": "true", "SCHEMA_REGISTRY_URL": "http://registry"}))
    assert waiting(Row(AT, "", BODY)).records == []


async def test_a_spooled_delivery_goes_there_too_when_it_is_drained(tmp_path: Path) -> None:
    spooled(tmp_path, BODY)
    outlet, publisher = Outlet(tmp_path), FakePublisher()
    assert outlet.acquire()
    drainer = Drainer(outlet=outlet, pipeline=PIPELINE, publisher=publisher, metrics=Metrics(), rate=1000)
    assert await drainer.drain_once() == 1
    assert publisher.published == PIPELINE(Row(1_000, "", BODY)).records


def test_the_receiver_publishes_nothing_before_the_topic_is_there() -> None:
    assert needed_topics("p", raw=True) - needed_topics("p") == {"p.delivery.v1"}
    receiver = Receiver(read_settings({"PHONON_RAW_TOPIC": "true"}))
    assert "phonon.delivery.v1" in receiver.publisher._topics
    assert "phonon.delivery.v1" not in Receiver(read_settings({})).publisher._topics


def test_its_topic_is_kept_as_those_of_events() -> None:
    config = topic_config(RAW, 1024)
    assert (config["cleanup.policy"], config["retention.ms"]) == ("delete", str(7 * 24 * 3600 * 1000))
    assert int(config["max.message.bytes"]) > 2 * 1024
