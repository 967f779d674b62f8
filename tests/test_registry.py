"""The schema registry, on a real Apicurio: what is registered, who can read it, and what happens while it is away.

A consumer that knows nothing but the registry (confluent_kafka's own AvroDeserializer) judges what is on the topics.
"""

import http.client
import http.server
import json
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from app.demo.broker import Broker
from app.demo.child import Child
from app.demo.ports import free_port
from app.outcomes import Unacknowledged
from app.pipeline import make_pipeline
from app.publish import Publisher
from app.records import NAMES
from app.segment import Row
from app.topics import create_topics
from schemas import SCHEMAS, Undecodable, UnknownId, canonical_text, decode, encode, registry_header
from schemas.registry import Headers, Refused, Registry, RegistryError
from schemas.settings import read_settings
from schemas.topics import TOPICS, topic_name
from streams.framing import WRITTEN, Framing
from tests import patience
from tests.apicurio import Door, apicurio
from tests.conftest import opened
from tests.fakes import FakeProducer
from tests.processes import Processes, ask

pytestmark = pytest.mark.broker

SAMPLE = (Path(__file__).parent / "deliveries" / "sample.json").read_bytes()
SAMPLE_DID = "+912243692987"
EVENTS = {"CallLeg": 2, "Dtmf": 1, "Sms": 1, "Email": 1, "FlowKey": 1, "Recording": 1, "Flow": 1}
PATIENCE_SECONDS = 40.0
eventually = partial(patience.eventually, within_seconds=PATIENCE_SECONDS)


@pytest.fixture(scope="session")
def registry_url() -> Iterator[str]:
    """One registry for the whole session."""
    with ExitStack() as stack:
        yield opened(stack, apicurio(os.environ))


@pytest.fixture
def door(registry_url: str) -> Iterator[Door]:
    """A way to the registry that can be shut."""
    made = Door(registry_url)
    made.open()
    yield made
    made.shut()


def flow(event_id: str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8", **fields: Any) -> dict[str, Any]:
    """A flow record's fields, of a minute ago."""
    now = int(time.time() * 1000) - 60_000
    made: dict[str, Any] = {"event_id": event_id, "flow_id": "f", "did": SAMPLE_DID, "occurred_at": now}
    made |= {"received_at": now, "anomalies": [], "extra": {}, "main": True, "direction": "INBOUND"}
    made |= {"disposition": "UNKNOWN", "reached": False, "agent_reached": False, "talk_ms": 0, "legs": []}
    counts = ("dtmf_count", "sms_count", "email_count", "key_count", "recording_count", "rejected_count")
    times = ("started_at", "ended_at", "time_to_agent_ms", "time_to_first_key_ms", "time_after_last_key_ms")
    return made | dict.fromkeys(counts, 0) | dict.fromkeys((*times, "caller", "menu_path")) | fields


def changed(record: str, **field: Any) -> str:
    """The schema of a record with one more field."""
    schema = json.loads(canonical_text(SCHEMAS[record]))
    schema["fields"].append({"doc": "added by a later version", **field})
    return canonical_text(schema)


def register(registry: Registry, subject: str, text: str) -> int:
    """Register a schema of somebody else's."""
    return int(registry._ask("POST", f"/subjects/{subject}/versions", {"schema": text, "schemaType": "AVRO"})["id"])


# --- the client


async def test_before_the_ids_are_known_no_record_is_made_and_none_is_published() -> None:
    """What comes meanwhile is spooled: not even a large delivery, split on a thread, slips by in another frame."""
    pipeline = make_pipeline(read_settings({"SCHEMA_REGISTRY_URL": "http://localhost:1"}))
    made = pipeline(Row(1, "", SAMPLE))
    assert (len(made.split.events), made.records) == (8, [])
    fake = FakeProducer(frozenset())
    publisher = Publisher(lambda _: fake, topics=frozenset(), stall_after=1, before=lambda: "no ids yet")
    await publisher.start()
    with pytest.raises(Unacknowledged, match="no ids yet"):
        await publisher.publish(made.records)
    await publisher.stop()
    pipeline.encode.frame(dict.fromkeys(SCHEMAS, registry_header(258)))
    assert {record.value[:5] for record in pipeline(Row(1, "", SAMPLE)).records} == {b"\0\0\0\1\2"}


def test_a_schema_is_registered_once_and_its_compatibility_set(registry_url: str, prefix: str) -> None:
    registry, subject = Registry(registry_url), f"{prefix}.flow.v1-value"
    first = registry.header(subject, "Flow", register=True)
    assert first[0] == 0
    assert registry.header(subject, "Flow", register=True) == first
    assert Registry(registry_url).header(subject, "Flow", register=False) == first
    client = SchemaRegistryClient({"url": registry_url})
    assert client.get_versions(subject) == [1]
    assert registry._ask("GET", f"/config/{subject}") == {"compatibilityLevel": "FULL_TRANSITIVE"}
    assert json.loads(client.get_schema(int.from_bytes(first[1:], "big")).schema_str or "") == SCHEMAS["Flow"]


def test_what_would_break_a_consumer_is_refused(registry_url: str, prefix: str) -> None:
    registry, subject = Registry(registry_url), f"{prefix}.flow.v1-value"
    registry.header(subject, "Flow", register=True)
    register(registry, subject, changed("Flow", name="later", type=["null", "string"], default=None))
    with pytest.raises(Refused) as refusal:
        register(registry, subject, changed("Flow", name="must", type="string"))
    assert refusal.value.status == 409


def test_an_incompatible_subject_is_said_in_one_line(registry_url: str, prefix: str) -> None:
    registry, subject = Registry(registry_url), f"{prefix}.sms.v1-value"
    register(registry, subject, changed("Sms", name="must", type="string"))
    with pytest.raises(RegistryError, match=rf"{subject} refuses our Sms, as incompatible \(409 ") as error:
        registry.header(subject, "Sms", register=True)
    assert "\n" not in str(error.value)


def test_a_subject_may_be_looked_up_only(registry_url: str, prefix: str) -> None:
    registry, subject = Registry(registry_url), f"{prefix}.email.v1-value"
    for _ in range(2):
        with pytest.raises(RegistryError, match="does not hold our Email; PHONON_REGISTER_SCHEMAS=true"):
            registry.header(subject, "Email", register=False)
        register(registry, subject, changed("Email", name="later", type=["null", "string"], default=None))
    ours = register(registry, subject, json.dumps(SCHEMAS["Email"], indent=4))
    assert registry.header(subject, "Email", register=False) == registry_header(ours), "other white space, same schema"


def test_ids_are_looked_up_once_and_outlive_the_registry(door: Door, prefix: str) -> None:
    registry = Registry(door.url())
    header = registry.header(f"{prefix}.flow.v1-value", "Flow", register=True)
    sent = flow()
    value, id_ = encode("Flow", sent, prefix=header), int.from_bytes(header[1:], "big")
    with pytest.raises(UnknownId):
        decode(value, registry.resolve)
    registry.learn([id_, 2**31])
    door.shut()
    assert decode(value, registry.resolve) == ("Flow", sent)
    with pytest.raises(Undecodable, match="has no id"):
        decode(registry_header(2**31) + b"body", registry.resolve)
    with pytest.raises(UnknownId):
        decode(registry_header(2**31 - 1) + b"body", registry.resolve)
    with pytest.raises(Undecodable, match=r"does not answer \(Connection refused\)"):
        decode(registry_header(2**31 - 1) + b"body", registry.look_up)
    with pytest.raises(Undecodable, match="SCHEMA_REGISTRY_URL is not set"):
        decode(value)


def test_a_later_version_and_a_stranger(registry_url: str, prefix: str) -> None:
    registry, subject = Registry(registry_url), f"{prefix}.dtmf.v1-value"
    odd = register(registry, subject, '{"type":"record","name":"Odd","fields":[]}')
    with pytest.raises(Undecodable, match="Odd is none of our records"):
        decode(registry_header(odd), registry.look_up)
    later = register(registry, f"{subject}-2", changed("Flow", name="later", type=["null", "string"], default=None))
    sent = flow()
    value = registry_header(later) + encode("Flow", sent)[10:] + b"\2\x06new"
    assert decode(value, registry.look_up) == ("Flow", sent)
    with pytest.raises(Undecodable, match="1 bytes behind the Flow body"):
        decode(value + b"x", registry.look_up)


def test_credentials_of_the_url_are_used_and_never_shown(door: Door, prefix: str) -> None:
    door.password = "svc:p@ss word"
    subject = f"{prefix}.key.v1-value"
    Registry(door.url("svc:p%40ss%20word")).header(subject, "FlowKey", register=True)
    for credentials in ("", "svc:swordfish"):
        registry = Registry(door.url(credentials))
        with pytest.raises(RegistryError, match=r"refuses the credentials of SCHEMA_REGISTRY_URL \(401 ") as error:
            registry.header(subject, "FlowKey", register=True)
        assert "swordfish" not in str(error.value)
        with pytest.raises(RegistryError, match="credentials"):
            registry.learn([1])


ODD_ANSWERS = {
    "a page": (200, b"<html>", "no schema registry at .* no JSON object"),
    "a list": (200, b"[1]", "no schema registry at .* no JSON object"),
    "another path": (404, b'{"title":"Not Found"}', "look at the path of SCHEMA_REGISTRY_URL"),
    "no id": (200, b"{}", "an answer without an id"),
    "an odd id": (200, b'{"id": "7"}', "an answer without an id"),
    "no id of four bytes": (200, b'{"id": -1}', "an answer without an id"),
    "a redirect": (302, b"", "answers 302"),
    "ill": (503, b"", "answers 503"),
}


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that is no registry."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

        def do_PUT(self) -> None:
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:9/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET = do_PUT  # noqa: N815 - http.server's names

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://u:swordfish@127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_what_is_no_registry_is_said_in_one_line(name: str) -> None:
    status, body, line = ODD_ANSWERS[name]
    with answering(status, body) as url:
        settings = read_settings({"SCHEMA_REGISTRY_URL": url})
        problem = Headers(Registry(url), settings, ["Flow"])()
        with pytest.raises(Undecodable, match="schema id 7: "):
            Registry(url).look_up(7)
    assert "\n" not in problem
    assert "swordfish" not in problem
    assert re.search(line, problem), problem


class Counting(Registry):
    """A registry that counts how often ids are looked up, by a clock of the test's."""

    def __init__(self, url: str) -> None:
        self.now, self.looks = 1000.0, 0
        super().__init__(url, clock=lambda: self.now)

    def learn(self, ids: Iterable[int]) -> None:
        self.looks += 1
        super().learn(ids)


def test_that_an_id_is_unknown_is_believed_for_a_minute() -> None:
    with answering(404, b'{"error_code":40403,"message":"Schema not found"}') as url:
        registry = Counting(url)
        for now, looks in ((1000.0, 1), (1059.9, 1), (1060.0, 2), (1119.9, 2)):
            registry.now = now
            with pytest.raises(Undecodable, match="the schema registry has no id 7"):
                registry.look_up(7)
            assert registry.looks == looks


def test_what_can_be_no_id_is_not_asked_for() -> None:
    """The answer is that of a wrong path, so the record of a stranger held up its partition for ever."""
    registry = Registry(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Undecodable, match="the schema registry has no id 2147483648"):
        registry.resolve(2**31)
    with pytest.raises(UnknownId):
        registry.resolve(2**31 - 1)


def test_a_registry_that_is_away_is_asked_for_ids_every_two_seconds() -> None:
    with answering(200, json.dumps({"schema": canonical_text(SCHEMAS["Flow"])}).encode()) as url:
        registry = Counting(f"http://127.0.0.1:{free_port()}")
        for now, looks in ((1000.0, 1), (1001.9, 1), (1002.0, 2)):
            registry.now = now
            with pytest.raises(Undecodable, match=r"schema id 7: .* does not answer \(Connection refused\)"):
                registry.look_up(7)
            assert registry.looks == looks
        registry.address, registry.now = url.replace("u:swordfish@", ""), 1004.0
        assert {registry.look_up(7).name for _ in range(2)} == {"Flow"}
        assert registry.looks == 3


def test_a_registry_that_hangs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.registry.ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        registry = Registry(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(RegistryError, match=r"does not answer \(nothing within 0.2 s\)"):
            registry.learn([1])


@pytest.mark.parametrize(
    ("answer", "why"),
    [(b"", "Remote end closed connection without response"), (b"-ERR what?\r\n", "-ERR what?")],
    ids=["nothing", "another protocol"],
)
def test_what_hangs_up_or_speaks_another_protocol_is_said_in_one_line(answer: bytes, why: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(answer)

        threading.Thread(target=hang_up, daemon=True).start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(RegistryError) as error:
            Registry(address).learn([1])
    assert str(error.value) == f"the schema registry at {address} does not answer ({why})"


async def test_a_worker_waits_for_its_headers_and_asks_for_ids_that_it_does_not_know() -> None:
    assert await Framing(read_settings({})).prepare() is None
    away = Framing(read_settings({"SCHEMA_REGISTRY_URL": f"http://127.0.0.1:{free_port()}"}))
    assert "does not answer" in (await away.prepare() or "")
    answer, told = {"id": 7, "schema": canonical_text(SCHEMAS["Flow"])}, list[str]()
    with answering(200, json.dumps(answer).encode()) as url:
        framing = Framing(read_settings({"SCHEMA_REGISTRY_URL": url}))
        values = [None, b"", b"nothing of ours", encode("Flow", flow()), registry_header(7) + b"body"]
        assert framing.unknown(values) == {7}
        await framing.learn({7}, told.append)
        assert (framing.unknown(values), told) == (set(), [])
        assert not await framing.prepare()
    assert framing.headers == dict.fromkeys(WRITTEN, registry_header(7))
    assert {*WRITTEN, *NAMES} == {topic.record for topic in TOPICS}, "what is on topics is the receiver's or theirs"


@pytest.mark.parametrize(("pause", "then", "asked"), [(60, "away", ["Flow"]), (0, "", ["Flow", "Flow", "Sms"])])
def test_headers_are_asked_for_again_after_a_while(
    pause: float, then: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schemas.registry.RETRY_SECONDS", pause)
    questions: list[str] = []

    class Away:
        def header(self, subject: str, record: str, *, register: bool) -> bytes:
            questions.append(record)
            if len(questions) == 1:
                raise RegistryError("away")
            return f"{subject} {register}".encode()

    headers = Headers(cast(Any, Away()), read_settings({"PHONON_REGISTER_SCHEMAS": "false"}), ["Flow", "Sms"])
    assert (headers(), headers(), questions) == ("away", then, asked)
    assert headers() == then
    assert questions == asked, "what is known is not asked for"
    expected = {"Flow": b"phonon.flow.v1-value False", "Sms": b"phonon.sms.v1-value False"}
    assert headers.found == ({} if then else expected)


# --- end to end


class Site:
    """A receiver and a worker that know a registry."""

    def __init__(self, process: Processes, folder: Path, kafka: Broker, prefix: str, url: str) -> None:
        self._process, self.kafka, self.prefix = process, kafka, prefix
        self.port, self.management, self.worker_port = free_port(), free_port(), free_port()
        self.settings = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "SCHEMA_REGISTRY_URL": url,
            "PHONON_TOPIC_PREFIX": prefix,
            "PHONON_TOPIC_PARTITIONS": "2",
            "PHONON_PORT": str(self.port),
            "PHONON_MANAGEMENT_PORT": str(self.management),
            "PHONON_SPOOL_DIR": str(folder / "spool"),
        }
        self.posted = 0
        create_topics(read_settings(self.settings))

    def receiver(self) -> Child:
        url = f"http://127.0.0.1:{self.management}/readyz"
        return self._process("serve", settings=self.settings, ready=url, within_seconds=PATIENCE_SECONDS)

    def worker(self) -> Child:
        settings = self.settings | {"PHONON_MANAGEMENT_PORT": str(self.worker_port)}
        return self._process("metrics", settings=settings)

    def tail(self) -> Child:
        return self._process("tail", "--from-beginning", "--no-follow", settings=self.settings)

    def post(self) -> tuple[int, dict[str, Any]]:
        self.posted += 1
        status, text = ask(self.port, "POST", "/webhooks/phonon", SAMPLE)
        return status, json.loads(text)

    def readiness(self, port: int) -> tuple[int, dict[str, Any]]:
        try:
            status, text = ask(port, "GET", "/readyz")
        except OSError:
            return 0, {}
        return status, json.loads(text)

    def messages(self, *records: str) -> list[Message]:
        """All that stands on the topics of these records now; of all records without any."""
        topics = [topic_name(self.prefix, topic.record) for topic in TOPICS if not records or topic.record in records]
        group = {"group.id": "judge", "enable.auto.commit": False, "isolation.level": "read_committed"}
        found: list[Message] = []
        with closing(Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, **group})) as consumer:
            places = [TopicPartition(topic, number, OFFSET_BEGINNING) for topic in topics for number in range(2)]
            ends = {(p.topic, p.partition): consumer.get_watermark_offsets(p, timeout=10)[1] for p in places}
            consumer.assign([p for p in places if ends[p.topic, p.partition]])
            left = {place for place, end in ends.items() if end}
            deadline = time.monotonic() + 20
            while left and time.monotonic() < deadline:
                found += consumer.consume(500, timeout=0.2)
                positions = consumer.position([TopicPartition(*place) for place in left])
                left -= {(p.topic, p.partition) for p in positions if p.offset >= ends[p.topic, p.partition]}
        assert not left, left
        return found

    def windows(self, resolve: Any) -> dict[str, Any]:
        """The figures of the sample's DID over the last day."""
        mine = [message for message in self.messages("DidMetrics") if message.key() == SAMPLE_DID.encode()]
        latest = max(mine, key=lambda message: message.offset() or 0, default=None)
        windows: list[dict[str, Any]] = decode(latest.value(), resolve)[1]["windows"] if latest else [{}]
        return windows[-1]


def test_a_consumer_that_knows_only_the_registry_reads_all_and_nothing_is_lost_while_it_is_away(
    process: Processes, tmp_path: Path, kafka: Broker, prefix: str, door: Door
) -> None:
    door.password = "svc:swordfish"
    door.shut()
    site = Site(process, tmp_path, kafka, prefix, door.url(door.password))

    receiver, worker = site.receiver(), site.worker()
    status, reply = site.post()
    assert (status, reply["stored"]) == (202, "spool")
    assert reply["flow_id"]
    assert "does not answer" in site.readiness(site.management)[1]["kafka"]
    eventually(lambda: "does not answer" in site.readiness(site.worker_port)[1].get("reason", ""))
    assert site.readiness(site.worker_port)[0] == 503

    door.open()
    eventually(lambda: site.post()[0] == 200)
    eventually(lambda: site.readiness(site.worker_port)[0] == 200)
    eventually(lambda: len(site.messages("Flow")) == site.posted and site.messages("DidMetrics"))
    door.shut()

    asked = len(door.requests)
    assert site.post()[0] == 200, "with the registry away again nothing happens"
    door.open()
    client = SchemaRegistryClient({"url": door.url(door.password)})
    read = AvroDeserializer(client)
    found: Counter[str] = Counter()
    for message in site.messages():
        topic, value = str(message.topic()), message.value()
        fields = read(value, SerializationContext(topic, MessageField.VALUE))
        record = next(one.record for one in TOPICS if topic_name(prefix, one.record) == topic)
        assert isinstance(fields, dict)
        assert set(fields) == {field["name"] for field in SCHEMAS[record]["fields"]}
        found[record] += 1
    assert found.pop("DidMetrics") >= 1
    assert found == {record: number * site.posted for record, number in EVENTS.items()}
    for one in TOPICS:
        subject = f"{topic_name(prefix, one.record)}-value"
        assert client.get_versions(subject) == [1]
        assert client.get_compatibility(subject) == "FULL_TRANSITIVE"
    ours = [request for request in door.requests[asked:] if "PUT" in request or "POST" in request]
    assert not ours, "who is at work asks the registry nothing"
    assert "swordfish" not in receiver.output + worker.output
    assert receiver.output.count("schema registry") == 1
    receiver.kill()
    worker.kill()


def test_both_framings_are_counted_and_shown_and_a_worker_waits_for_an_id_it_cannot_ask_for(
    process: Processes, tmp_path: Path, kafka: Broker, prefix: str, door: Door
) -> None:
    site, registry = Site(process, tmp_path, kafka, prefix, door.url()), Registry(door.url())
    worker = site.worker()
    eventually(lambda: site.readiness(site.worker_port)[0] == 200)
    subject, topic = f"{topic_name(prefix, 'Flow')}-value", topic_name(prefix, "Flow")
    header = registry.header(subject, "Flow", register=True)
    later = register(registry, subject, changed("Flow", name="later", type=["null", "string"], default=None))
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})

    def put(*values: bytes) -> None:
        for value in values:
            producer.produce(topic, value, SAMPLE_DID.encode(), partition=0)
        assert producer.flush(10) == 0

    ids = [f"00000000-0000-0000-0000-00000000000{n}" for n in range(6)]
    put(encode("Flow", flow(ids[0])), encode("Flow", flow(ids[1]), prefix=header), b"\0junk of no id", b"junk")
    eventually(lambda: site.windows(registry.look_up).get("flows") == 2)
    eventually(lambda: len(site.messages("Rejected")) == 2)

    door.shut()
    put(encode("Flow", flow(ids[2])), registry_header(later) + encode("Flow", flow(ids[3]))[10:] + b"\0")
    put(encode("Flow", flow(ids[4]), prefix=header))
    eventually(lambda: "does not answer" in site.readiness(site.worker_port)[1].get("reason", ""))
    eventually(lambda: site.windows(registry.resolve).get("flows") == 3)
    door.open()
    eventually(lambda: site.windows(registry.look_up).get("flows") == 5)
    eventually(lambda: site.readiness(site.worker_port)[0] == 200)
    assert len(site.messages("Rejected")) == 2
    assert worker.returncode is None
    assert worker.output.count("a record is set aside: ") == 1, "of many, one line a minute"

    shown = site.tail()
    assert shown.wait(PATIENCE_SECONDS) == 0
    lines = [json.loads(line) for line in shown.output.splitlines()]
    assert Counter(line["record"] for line in lines if line["topic"] == topic) == {"Flow": 5, None: 2}
    reasons = [line["value"]["reason"] for line in lines if line["record"] == "Rejected"]
    assert any("has no id" in reason for reason in reasons)
    worker.kill()


def test_what_waiting_does_not_mend_is_said(
    process: Processes, tmp_path: Path, kafka: Broker, prefix: str, door: Door
) -> None:
    """A subject that refuses our schema, and a wrong password: one line, readiness, deliveries taken all the same."""
    register(Registry(door.url()), f"{topic_name(prefix, 'Flow')}-value", changed("Flow", name="must", type="string"))
    site = Site(process, tmp_path, kafka, prefix, door.url("svc:swordfish"))
    receiver = site.receiver()
    eventually(lambda: "refuses our Flow, as incompatible" in site.readiness(site.management)[1]["kafka"])
    assert site.post()[0] == 202

    door.password = "svc:other"
    worker = site.worker()
    eventually(lambda: "refuses the credentials" in site.readiness(site.worker_port)[1].get("reason", ""))
    for child, line in ((receiver, "as incompatible"), (worker, "refuses the credentials")):
        assert child.returncode is None
        assert child.output.count(line) == 1, child.output
        assert "swordfish" not in child.output
        child.kill()
