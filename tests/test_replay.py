"""Replay on a real Kafka: the same ids however often, so that nobody who dedupes by them sees anything new."""

import json
import math
import random
import time
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from app import past
from app.cli import run
from app.demo.ports import free_port
from app.pipeline import make_pipeline
from app.rebuild import Left
from app.records import Record
from app.replay import DELETED, How, Outcome, Span, _events, _publish, replay_raw, replay_rejected
from app.segment import Row
from app.topics import check_topics, create_topics
from schemas import decode, encode
from schemas.settings import Settings, read_settings
from schemas.topics import OF_WORKERS, TOPICS, raw_topic_name, topic_name
from tests.patience import eventually
from tests.processes import Processes

pytestmark = pytest.mark.broker
DELIVERIES = 150
Seen = dict[str, Any]


@dataclass
class Site:
    """Topics of one prefix, and the settings for them."""

    environ: dict[str, str]
    capture: pytest.CaptureFixture[str]

    @property
    def settings(self) -> Settings:
        return read_settings(self.environ)

    def command(self, *arguments: str) -> str:
        self.capture.readouterr()
        code = run(list(arguments))
        out, err = self.capture.readouterr()
        assert (code, err) == (0, ""), out
        return out

    def records(self, *topics: str) -> list[Seen]:
        lines = self.command("tail", *topics, "--from-beginning", "--no-follow").splitlines()
        return [json.loads(line) for line in lines]

    def events(self) -> list[Seen]:
        return self.records(*(topic.name for topic in TOPICS if topic.record not in OF_WORKERS))

    def publish(self, *records: Record) -> None:
        producer = Producer({"bootstrap.servers": self.settings.kafka["bootstrap.servers"]})
        for record in records:
            producer.produce(record.topic, record.value, record.key, headers=dict(record.headers))
        assert producer.flush(10) == 0


@pytest.fixture
def site(
    kafka: Any, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Site:
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "PHONON_TOPIC_PREFIX": prefix,
        "PHONON_TOPIC_PARTITIONS": "2",
        "PHONON_RAW_TOPIC": "true",
        "PHONON_LOG_LEVEL": "warning",
        **{name: str(free_port()) for name in ("PHONON_PORT", "PHONON_MANAGEMENT_PORT")},
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    create_topics(read_settings(environ))
    return Site(environ, capsys)


def ids(events: list[Seen]) -> Counter[tuple[str, str]]:
    """How often each event is there: by its header, which rejected parts have too."""
    return Counter((event["topic"], event["headers"]["ce_id"]) for event in events)


def contents(events: list[Seen]) -> set[str]:
    return {json.dumps([event["topic"], event["key"], event["headers"], event["value"]]) for event in events}


def figures(metrics: list[Seen]) -> dict[str, Seen]:
    """Each DID's counts over the longest window."""
    last = {record["key"]: record["value"]["windows"][-1] for record in metrics}
    return {did: {k: v for k, v in w.items() if k not in ("start", "end")} for did, w in last.items()}


def settled(site: Site, flows: int) -> dict[str, Seen]:
    """The metrics once they count so many flows."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        found = figures(site.records("did-metrics"))
        if sum(window["flows"] for window in found.values()) >= flows:
            return found
        time.sleep(0.5)
    raise AssertionError("the metrics never came")


def test_replayed_twice_from_raw_ids_and_metrics_are_as_before(site: Site, process: Processes) -> None:
    management = site.environ["PHONON_MANAGEMENT_PORT"]
    of_worker = site.environ | {"PHONON_MANAGEMENT_PORT": str(free_port())}
    process("metrics", settings=of_worker)
    receiver = process("serve", settings=site.environ, ready=f"http://127.0.0.1:{management}/readyz")
    site.command("send", "--synthetic", str(DELIVERIES), "--rough", "--seed", "3", "--duplicates", "0")
    eventually(lambda: not list(Path("spool").glob("*.spool")))  # a receiver that stops leaves what is there
    receiver.stop()
    raw = site.records("delivery")
    first = site.events()
    assert len(raw) == DELIVERIES
    flows = ids([event for event in first if event["record"] == "Flow"])
    before = settled(site, len(flows))

    for _ in range(2):
        site.command("replay", "--from-raw", "--rate", "1000")
    third = site.events()
    assert ids(third) == {id_: 3 * number for id_, number in ids(first).items()}
    assert contents(third) == contents(first)
    assert len(site.records("delivery")) == DELIVERIES, "the raw topic is not filled by what is read from it"
    time.sleep(2)
    assert settled(site, len(flows)) == before


def deliver(site: Site, document: bytes, at: int) -> None:
    site.publish(*make_pipeline(site.settings)(Row(at, "", document)).records)


def test_a_span_is_kept_and_a_dry_run_publishes_nothing(site: Site) -> None:
    now = int(time.time() * 1000)
    for number in range(5):
        deliver(site, b'{"phonon-uuid": "f%d", "keys": [{"name": "k"}]}' % number, now - 1000 * number)
    site.publish(
        Record(raw_topic_name(site.settings.topic_prefix), None, b"not json", [("ce_time", b"2025-11-22T19:03:46Z")])
    )
    site.publish(Record(raw_topic_name(site.settings.topic_prefix), None, b"{}", []))
    before = ids(site.events())
    span, told = Span(since=now - 3000, until=now), []
    how = How(rate=500, dry_run=True, progress=lambda done, total: told.append((done, total)))
    outcome = replay_raw(site.settings, span, how)
    assert ids(site.events()) == before
    assert told[-1] == (7, 7)
    key, flow = (topic_name(site.settings.topic_prefix, record) for record in ("FlowKey", "Flow"))
    assert (outcome.read, outcome.elsewhen, outcome.made) == (7, 3, 3)
    assert (dict(outcome.left), dict(outcome.published)) == (
        {"no ce_time that says when it was received": 1},
        {key: 3, flow: 3},
    )
    assert replay_raw(site.settings, span, How(rate=500)) == outcome
    assert sum(ids(site.events()).values()) == sum(before.values()) + 6
    assert run(["replay", "--from-raw"]) == 1
    assert "phonon-events: 2 deliveries can't be read by this version" in site.capture.readouterr().err


def test_what_was_rejected_and_can_be_read_now_is_published_with_its_flow(site: Site) -> None:
    settings, at = site.settings, int(time.time() * 1000) - 5000
    leg = b'{"calleeType": "VISITOR", "didNumber": "02243692987", "cdrId": "c"}'
    whole = b'{"phonon-uuid": "f", "callDetails": [%s], "smsDetails": [{"id": "s1"}, {"id": "s2"}]}' % leg
    refused = whole.replace(b'{"id": "s2"}', b'"s2"')
    deliver(site, refused, at)  # as an older version, that could not read such a row, left it
    flow = make_pipeline(settings)(Row(at, "", whole)).records[-1]

    def rejected(section: str, index: int | None, payload: str) -> Record:
        part = {"flow_id": "f", "section": section, "index": index, "reason": "r", "payload": payload}
        topic = topic_name(settings.topic_prefix, "Rejected")
        return Record(topic, None, encode("Rejected", part | {"received_at": at}), [("ce_id", payload[:20].encode())])

    site.publish(
        *[rejected("smsDetails", 1, '{"id": "s2"}')] * 2,
        rejected(flow.topic, None, b64encode(flow.value).decode()),
        rejected("callDetails[0].dtmfPressesd", 0, '{"key": "1"}'),
    )
    before = ids(site.events())
    outcome = replay_rejected(settings, Span(), How(rate=500))
    assert (outcome.read, outcome.made) == (5, 2)
    assert dict(outcome.left) == {
        "still can't be read": 1,
        "the same as another": 1,
        "a press without its leg: only replay --from-raw can": 1,
    }
    new = ids(site.events()) - before
    wanted = {(r.topic, dict(r.headers)["ce_id"].decode()) for r in make_pipeline(settings)(Row(at, "", whole)).records}
    assert set(new) <= wanted
    assert {topic for topic, _ in new} == {flow.topic, topic_name(settings.topic_prefix, "Sms")}
    sms = [event for event in site.records("sms") if event["value"]["sms_id"] == "s2"]
    assert [(event["key"], event["value"]["did"]) for event in sms] == [("+912243692987", "+912243692987")]
    assert "left: still can't be read" in site.command("replay", "--from-rejected", "--since", "1h", "--dry-run")
    assert "nothing published" in site.command("replay", "--from-rejected", "--until", "1h")


def test_what_no_code_of_ours_can_make_anything_of_does_not_keep_the_rest_from_being_replayed(site: Site) -> None:
    """Another program's record, for example, whose time is none."""
    settings, at = site.settings, int(time.time() * 1000) - 5000
    flow = make_pipeline(settings)(Row(at, "", b'{"phonon-uuid": "f"}')).records[-1]
    fields = decode(flow.value)[1]
    for value in (encode("Flow", fields | {"occurred_at": 2**62}), flow.value):
        part = {"flow_id": "", "section": flow.topic, "index": None, "reason": "r", "received_at": at}
        rejected = encode("Rejected", part | {"payload": b64encode(value).decode()})
        site.publish(Record(topic_name(settings.topic_prefix, "Rejected"), b"k", rejected, []))
    site.publish(Record(topic_name(settings.topic_prefix, "Rejected"), b"k", flow.value, []))
    outcome = replay_rejected(settings, Span(), How(rate=500))
    assert (outcome.read, outcome.made) == (3, 1)
    assert dict(outcome.left) == {"our code fails on it (OverflowError)": 1, "no Rejected record": 1}
    earlier = replay_rejected(settings, Span(until=at), How(rate=500))
    assert (earlier.elsewhen, earlier.made) == (2, 0)


def test_what_kafka_deletes_while_it_is_read_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(past.OWN, "queued_max_messages_kbytes", "1")  # nothing ahead but what one answer holds
    monkeypatch.setattr(past, "BATCH", 5)
    topic, body = raw_topic_name(site.settings.topic_prefix), b'{"keys": [{"name": "k", "value": "%s"}]}'
    servers: dict[str, Any] = {"bootstrap.servers": site.settings.kafka["bootstrap.servers"]}
    producer, admin = Producer(servers), AdminClient(servers)
    for number in range(80):
        value = body % random.randbytes(50_000).hex().encode()
        producer.produce(topic, value, partition=number % 2, headers={"ce_time": b"2025-11-22T19:03:46Z"})
    assert producer.flush(20) == 0

    def delete(read: int, _total: int) -> None:
        if read == 5:
            for done in admin.delete_records([TopicPartition(topic, n, 36) for n in (0, 1)]).values():
                done.result()

    outcome = replay_raw(site.settings, Span(), How(rate=500, dry_run=True, progress=delete))
    assert outcome.left[DELETED] > 20
    assert outcome.read + outcome.left[DELETED] == 80


def test_topics_hold_the_raw_one_only_when_it_is_asked_for(site: Site, prefix: str) -> None:
    assert check_topics(site.settings) == []
    other = read_settings(site.environ | {"PHONON_RAW_TOPIC": "false", "PHONON_TOPIC_PREFIX": f"{prefix}-other"})
    assert len(create_topics(other)) == len(TOPICS)
    wanted = read_settings(site.environ | {"PHONON_TOPIC_PREFIX": f"{prefix}-other"})
    assert [(d.topic, d.found) for d in check_topics(wanted)] == [(f"{prefix}-other.delivery.v1", "missing")]


def test_without_a_raw_topic_the_way_out_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHONON_TOPIC_PREFIX", "nobody")
    assert run(["replay", "--from-raw"]) == 1
    err = site.capture.readouterr().err
    assert err.startswith("phonon-events: no topic nobody.delivery.v1 on this Kafka: with PHONON_RAW_TOPIC=true ")
    assert err.count("\n") == 1


def test_the_rate_is_kept(site: Site) -> None:
    for number in range(20):
        deliver(site, b'{"phonon-uuid": "f%d"}' % number, 1_763_838_226_000)
    begun = time.monotonic()
    assert replay_raw(site.settings, Span(), How(rate=20)) == Outcome(
        read=20, made=20, published=Counter({topic_name(site.settings.topic_prefix, "Flow"): 20})
    )
    assert time.monotonic() - begun >= 0.9


@pytest.mark.parametrize("rate", [25.0, math.inf])
async def test_any_rate_may_be_asked_for(rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    class Taking:
        healthy, reason = True, ""

        async def start(self) -> None: ...
        async def stop(self) -> None: ...
        async def publish(self, _records: object, *, live: bool) -> None:
            assert not live

    monkeypatch.setattr("app.replay.make_publisher", lambda *_: Taking())
    outcome, groups = Outcome(), [[Record("a", None, b"", [])]] * 3
    await _publish(read_settings({}), make_pipeline(read_settings({})), groups, How(rate=rate), outcome)
    assert outcome.published == {"a": 3}


def test_a_recording_whose_caller_is_not_known_is_left_where_callers_must_not_be_seen() -> None:
    settings = read_settings({"PHONON_NUMBERS": "pseudonymise", "PHONON_PSEUDONYM_KEY": "long enough"})
    part = {"section": "recordingUrls", "index": 0, "payload": '{"recordedFileName": "912243692987.wav"}'}
    with pytest.raises(Left, match="its name may hold a caller's number"):
        _events(part | {"flow_id": "f", "received_at": 1}, {}, make_pipeline(settings))
