"""The endpoint, one test a row of the status table, against fakes; and that no bytes and no headers bring a 500."""

import asyncio
import base64
import gzip
import json
import logging
import re
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.log_line import log_delivery, shown
from app.main import Receiver
from app.openapi import MEANINGS
from app.outcomes import Full, SpoolFailed, State, Unacknowledged, Unpublishable
from app.pipeline import LARGE_COMMAS
from app.webhook import LARGE_WAITING, TRACEPARENT
from schemas import decode
from schemas.settings import read_settings
from tests.fakes import FakePublisher, FakeSpool

PATH = "/webhooks/phonon"
SAMPLE = (Path(__file__).parent / "deliveries" / "sample.json").read_bytes()
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Answer:
    """What came back."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        start, body = messages
        self.status: int = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        self.body: bytes = body["body"]
        self.json: dict[str, Any] = json.loads(self.body)
        assert self.headers["content-length"] == str(len(self.body))


class Setting:
    """A receiver on fakes."""

    def __init__(self, tmp_path: Path, **settings: str) -> None:
        environ = {f"PHONON_{name.upper()}": value for name, value in settings.items()}
        self.receiver = Receiver(read_settings({"PHONON_SPOOL_DIR": str(tmp_path), **environ}))
        self.publisher, self.spool = FakePublisher(), FakeSpool()
        self.receiver.webhook.publisher = self.publisher
        self.receiver.webhook.spool = self.spool
        self.receiver.webhook.now = lambda: 1_800_000_000.0

    async def __call__(
        self, body: bytes = SAMPLE, *, method: str = "POST", path: str = PATH, **headers: bytes
    ) -> Answer:
        names = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
        return await self.send([body], method=method, path=path, headers=names)

    async def refused(self) -> list[bytes]:
        """The refused bodies on disk."""
        await asyncio.to_thread(self.receiver.refused.stop)
        folder = self.receiver.refused.folder
        return sorted(path.read_bytes() for path in folder.iterdir()) if folder.is_dir() else []

    async def send(
        self,
        chunks: list[bytes],
        *,
        method: str = "POST",
        path: str = PATH,
        headers: list[tuple[bytes, bytes]],
        pause: Callable[[], Awaitable[None]] | None = None,
    ) -> Answer:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 4711),
        }
        sent: list[dict[str, Any]] = []
        left = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        left.append({"type": "http.request", "body": b"", "more_body": False})

        async def receive() -> dict[str, Any]:
            if pause is not None:
                await pause()
            return left.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        await self.receiver(scope, receive, send)
        return Answer(sent)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def is_problem(answer: Answer, status: int) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json.keys() == {"type", "title", "status", "detail"}
    assert answer.json["status"] == status
    assert ("retry-after" in answer.headers) is (status in (503, 507))


async def test_200_when_kafka_has_all(setting: Setting) -> None:
    answer = await setting()
    events = {"call_leg": 2, "dtmf": 1, "sms": 1, "email": 1, "key": 1, "recording": 1, "flow": 1}
    flow_id = "6629a6f5-af55-41e8-a8a4-9b7b73fcf5c4"
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {"flow_id": flow_id, "events": events, "rejected": 0, "stored": "kafka"}
    assert len(setting.publisher.published) == 8
    assert setting.spool.kept == []


@pytest.mark.parametrize(
    ("error", "failed"),
    [(Unacknowledged("late"), ""), (Unpublishable("too large"), "unpublishable"), (ValueError("a bug"), "pipeline")],
)
async def test_202_when_only_the_spool_has_it(
    setting: Setting, error: Exception, failed: str, caplog: pytest.LogCaptureFixture
) -> None:
    setting.publisher.raises = error
    answer = await setting(traceparent=TRACE)
    assert answer.status == 202
    assert answer.json["stored"] == "spool"
    assert answer.json["flow_id"] == "6629a6f5-af55-41e8-a8a4-9b7b73fcf5c4"
    assert setting.spool.kept == [(1_800_000_000_000, TRACE.decode(), SAMPLE)]
    assert failures(setting) == ([b'phonon_failures_total{where="%s"} 1.0' % failed.encode()] if failed else [])
    said = {"": [], "unpublishable": ["Kafka refuses a record for good: too large"], "pipeline": ["failed in pipeline"]}
    assert caplog.messages == said[failed]


def failures(setting: Setting) -> list[bytes]:
    """What of our own the metrics say has failed."""
    setting.receiver.metrics.bring_over()
    lines = setting.receiver.metrics.exposition({}).splitlines()
    return [line for line in lines if line.startswith(b"phonon_failures_total{")]


async def test_who_hangs_up_is_counted_and_not_answered(setting: Setting) -> None:
    sent: list[Any] = []
    left: list[Any] = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return left.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"method": "POST", "headers": [], "client": ("127.0.0.1", 4711)}
    await setting.receiver.webhook(scope, receive, send)
    assert (sent, failures(setting)) == ([], [])
    assert b'phonon_deliveries_total{status="gone"} 1.0' in setting.receiver.metrics.exposition({})
    assert setting.receiver.webhook.budget.held_bytes == 0


async def test_202_while_kafka_is_down_tells_the_flow_all_the_same(setting: Setting) -> None:
    setting.publisher.state = State.DOWN
    answer = await setting()
    expected = {"flow_id": "6629a6f5-af55-41e8-a8a4-9b7b73fcf5c4", "stored": "spool"}
    assert (answer.status, answer.json) == (202, expected)
    derived = (await setting(b'{"keys": [{"name": "n"}]}')).json["flow_id"]
    setting.publisher.state = State.HEALTHY
    assert (await setting(b'{"keys": [{"name": "n"}]}')).json["flow_id"] == derived
    assert len(derived) == 36


async def test_202_when_our_own_code_fails(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any, **_named: Any) -> None:
        raise KeyError("912243692987")

    setting.receiver.webhook.pipeline = broken  # type: ignore[assignment]
    answer = await setting()
    assert (answer.status, answer.json) == (202, {"flow_id": "", "stored": "spool"})
    assert setting.spool.kept[0].body == SAMPLE


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"1", b"null", b"\xff\xfe", b"[" * 5000, b"nan"])
async def test_400_for_what_is_no_json_object(setting: Setting, body: bytes) -> None:
    is_problem(await setting(body), 400)
    assert setting.spool.kept == []


async def test_400_for_other_encodings(setting: Setting) -> None:
    is_problem(await setting(b"{}", content_encoding=b"br"), 400)


async def test_401_is_one_answer_for_all(tmp_path: Path) -> None:
    secret = base64.b64encode(b"our signing secret").decode()
    answers = [
        await Setting(tmp_path, basic_auth="u:p")(),
        await Setting(tmp_path, token="t")(authorization=b"Bearer x"),
        await Setting(tmp_path, token="t")(path=PATH + "/x"),
        await Setting(tmp_path, signing_secret=secret)(),
        await Setting(tmp_path, allowed_ips="203.0.113.0/24")(),
    ]
    for answer in answers:
        is_problem(answer, 401)
        assert (answer.headers, answer.body) == (answers[0].headers, answers[0].body)
    assert answers[0].headers["www-authenticate"]


async def test_credentials_let_in(tmp_path: Path) -> None:
    assert (await Setting(tmp_path, token="t")(path=PATH + "/t")).status == 200
    assert (await Setting(tmp_path, token="t")(authorization=b"Bearer t")).status == 200
    assert (await Setting(tmp_path, basic_auth="u:p")(authorization=b"Basic " + base64.b64encode(b"u:p"))).status == 200


@pytest.mark.parametrize("path", ["/", "/webhooks", PATH + "/", PATH + "/token", PATH + "/a/b", "/healthz", "/metrics"])
async def test_404_elsewhere(setting: Setting, path: str) -> None:
    is_problem(await setting(path=path), 404)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "WHAT"])
async def test_405_for_other_methods(setting: Setting, method: str) -> None:
    answer = await setting(method=method)
    is_problem(answer, 405)
    assert answer.headers["allow"] == "POST"


async def test_413_only_above_the_limit(tmp_path: Path) -> None:
    setting = Setting(tmp_path, max_body_bytes="4096")
    head, tail = b'{"phonon-uuid": "', b'"}'
    exact = head + b"x" * (4096 - len(head) - len(tail)) + tail
    assert (await setting(exact)).status == 200
    assert (await setting(gzip.compress(exact), content_encoding=b"gzip")).status == 200
    is_problem(await setting(exact + b" "), 413)
    is_problem(await setting(gzip.compress(exact + b" "), content_encoding=b"gzip"), 413)


@pytest.mark.parametrize("body", [b"{}", b'{"body": {}}', b'{"a": 1}', b'{"body": {"a": 1}}', b'{"callDetails": null}'])
async def test_422_for_an_unknown_object(setting: Setting, body: bytes) -> None:
    is_problem(await setting(body), 422)


@pytest.mark.parametrize("state", [State.HEALTHY, State.DOWN])
async def test_bodies_refused_as_no_delivery_are_kept(setting: Setting, state: State) -> None:
    setting.publisher.state = state
    many_rows = json.dumps({"keys": [0] * 50_001}).encode()
    for body, status in ((b"odd", 400), (b'{"new": 1}', 422), (many_rows, 413)):
        is_problem(await setting(gzip.compress(body), content_encoding=b"gzip"), status)
    assert await setting.refused() == sorted([b"odd", b'{"new": 1}', many_rows])


async def test_bodies_of_strangers_are_not(tmp_path: Path) -> None:
    setting = Setting(tmp_path, token="t")
    is_problem(await setting(b"{}"), 401)
    is_problem(await setting(b"[]", authorization=b"Bearer t"), 400)
    assert await setting.refused() == [b"[]"]


@pytest.mark.parametrize("settings", [{"content": "drop"}, {"numbers": "pseudonymise", "pseudonym_key": "swordfish"}])
async def test_nor_are_any_where_something_is_taken_out(tmp_path: Path, settings: dict[str, str]) -> None:
    setting = Setting(tmp_path, **settings)
    is_problem(await setting(b"{}"), 422)
    assert await setting.refused() == []


async def test_503_beyond_what_may_be_in_flight(tmp_path: Path) -> None:
    setting = Setting(tmp_path, max_in_flight="1")
    setting.receiver.webhook.in_flight = 1
    is_problem(await setting(), 503)
    setting.receiver.webhook.in_flight = 0
    assert (await setting()).status == 200


@pytest.mark.parametrize(
    ("headers", "closes"),
    [
        ([], False),
        ([(b"content-length", b"99999")], False),
        ([(b"content-length", b"100000")], True),
        ([(b"transfer-encoding", b"chunked")], True),
    ],
)
async def test_who_is_refused_before_a_long_body_is_read_is_hung_up_on(
    tmp_path: Path, headers: list[tuple[bytes, bytes]], closes: bool
) -> None:
    """Else all of it would be read, of a stranger; a short one is, and the connection kept."""
    stranger, busy = Setting(tmp_path, token="t"), Setting(tmp_path, max_in_flight="1")
    busy.receiver.webhook.in_flight = 1
    for setting, status in ((stranger, 401), (busy, 503)):
        answer = await setting.send([SAMPLE], headers=headers)
        is_problem(answer, status)
        assert ("connection" in answer.headers) is closes


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"content-length", b"4096"), (b"expect", b"100-continue")], 200),
        ([(b"content-length", b"4097"), (b"expect", b"100-continue")], 413),
        ([(b"content-length", b"4097")], 200),
    ],
    ids=["exactly the limit", "above it", "who does not ask is believed the body"],
)
async def test_who_asks_before_sending_is_told_before(
    tmp_path: Path, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    answer = await Setting(tmp_path, max_body_bytes="4096").send([SAMPLE], headers=headers)
    assert (answer.status, "connection" in answer.headers) == (status, status == 413)


async def test_503_beyond_what_may_be_held_where_bodies_are_small_until_they_are_inflated(setting: Setting) -> None:
    budget, body = setting.receiver.webhook.budget, SAMPLE + b" " * 900_000
    inflated = budget.most_bytes // len(body)
    came, goes_on = asyncio.Semaphore(0), asyncio.Event()

    async def waits(*_arguments: Any, **_named: Any) -> None:
        came.release()
        await goes_on.wait()

    setting.publisher.publish = waits  # type: ignore[method-assign]
    posted = []
    for _ in range(inflated):  # each is made before the next comes: of such bodies only few may wait for that
        posted.append(asyncio.create_task(setting(gzip.compress(body), content_encoding=b"gzip")))
        await came.acquire()
    is_problem(await setting(gzip.compress(body), content_encoding=b"gzip"), 503)
    goes_on.set()
    assert [answer.status for answer in await asyncio.gather(*posted)] == [200] * inflated
    assert budget.held_bytes == 0


async def test_503_when_kafka_and_spool_refuse(setting: Setting) -> None:
    setting.publisher.raises, setting.spool.raises = Unacknowledged("late"), SpoolFailed("broken")
    is_problem(await setting(), 503)
    assert failures(setting) == []


async def test_503_for_an_error_of_ours_that_nothing_else_meets(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted and told: the sender only hears that it should come again."""
    setting.publisher.raises, setting.spool.raises = Unacknowledged("late"), KeyError("ours")
    is_problem(await setting(), 503)
    assert failures(setting) == [b'phonon_failures_total{where="webhook"} 1.0']
    assert "failed in webhook" in caplog.messages


async def test_507_when_the_spool_is_full(setting: Setting) -> None:
    setting.publisher.raises, setting.spool.raises = Unacknowledged("late"), Full("full")
    is_problem(await setting(), 507)


async def test_a_trickling_body_is_cut_off(tmp_path: Path) -> None:
    setting = Setting(tmp_path, answer_within="0.4", stall_after="0.1")
    answer = await setting.send([b"x"] * 20, headers=[], pause=lambda: asyncio.sleep(0.05))
    is_problem(answer, 503)
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(("hangs", "status"), [(False, 200), (True, 202)])
async def test_a_body_that_took_its_time_is_published_or_spooled_in_what_is_left(
    tmp_path: Path, hangs: bool, status: int
) -> None:
    setting = Setting(tmp_path, answer_within="0.8", stall_after="0.1")
    if hangs:
        setting.publisher.publish = lambda *_arguments, **_named: asyncio.sleep(60)  # type: ignore[method-assign]
    async with asyncio.timeout(0.8):
        answer = await setting.send([SAMPLE], headers=[], pause=lambda: asyncio.sleep(0.15))
    assert answer.status == status
    assert (len(setting.publisher.published), len(setting.spool.kept)) == ((0, 1) if hangs else (8, 0))


async def test_a_publisher_and_a_spool_that_never_answer_do_not_hold_the_answer(tmp_path: Path) -> None:
    setting = Setting(tmp_path, answer_within="0.5", stall_after="0.1")

    async def never(*_arguments: Any, **_named: Any) -> None:
        await asyncio.sleep(60)

    setting.publisher.raises = Unacknowledged("late")
    setting.spool.keep = never  # type: ignore[method-assign]
    async with asyncio.timeout(0.6):
        is_problem(await setting(), 503)


async def test_a_large_delivery_is_made_on_a_thread(setting: Setting) -> None:
    body = json.dumps({"keys": [{"name": f"k{n}", "value": n} for n in range(LARGE_COMMAS)]}).encode()
    answer = await setting(body)
    assert answer.status == 200
    assert answer.json["events"]["key"] == LARGE_COMMAS
    assert len(setting.publisher.published) == LARGE_COMMAS + 1
    assert setting.receiver.webhook._large == 0


async def test_202_for_more_large_deliveries_than_may_wait(setting: Setting) -> None:
    body = b'{"keys": [' + b'{"name": "k"},' * (LARGE_COMMAS + 1) + b'{"name": "k"}]}'
    release, made = threading.Event(), setting.receiver.webhook._thread
    made.submit(release.wait, 10)
    posted = [asyncio.create_task(setting(body)) for _ in range(LARGE_WAITING + 1)]
    done, _ = await asyncio.wait(posted, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().status for task in done] == [202]
    release.set()
    statuses = [answer.status for answer in await asyncio.gather(*posted)]
    assert sorted(statuses) == [200] * LARGE_WAITING + [202]
    assert len(setting.spool.kept) == 1


async def test_while_much_is_masked_others_have_their_turns(tmp_path: Path) -> None:
    setting = Setting(tmp_path, numbers="pseudonymise", pseudonym_key="swordfish")
    posted = asyncio.create_task(setting(b'{"phonon-uuid":"f","odd":"' + b"!@b" * 100_000 + b'"}'))
    turns = 0
    while not posted.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert (await posted).status == 200
    assert turns > 10


async def test_a_traceparent_is_passed_on_only_when_it_is_one(setting: Setting) -> None:
    await setting(traceparent=TRACE)
    assert {dict(record.headers).get("traceparent") for record in setting.publisher.published} == {TRACE}
    setting.publisher.published.clear()
    await setting(traceparent=b"nonsense")
    assert {dict(record.headers).get("traceparent") for record in setting.publisher.published} == {None}
    for wrong in (b"ff" + TRACE[2:], b"00-" + b"0" * 32 + TRACE[35:], TRACE[:36] + b"0" * 16 + b"-01", TRACE + b"-x"):
        assert not TRACEPARENT.fullmatch(wrong)


async def test_while_stopping_connections_are_closed(setting: Setting) -> None:
    setting.receiver.stop()
    assert (await setting()).headers["connection"] == "close"


async def test_the_same_delivery_has_the_same_ids_through_the_spool(setting: Setting) -> None:
    await setting()
    direct = [decode(record.value) for record in setting.publisher.published]
    setting.publisher.raises = Unacknowledged("late")
    await setting()
    row = setting.spool.kept[0]
    again = setting.receiver.webhook.pipeline(row)
    assert [decode(record.value) for record in again.records] == direct


async def test_the_document_and_the_statuses_are_one_table(setting: Setting) -> None:
    answer = await setting(b"", method="GET", path="/openapi.json")
    described = {int(status) for status in answer.json["paths"][PATH]["post"]["responses"]}
    assert described == set(MEANINGS) - {404, 405}
    is_problem(await setting(b"", method="POST", path="/openapi.json"), 405)


async def test_each_answered_delivery_is_one_line_of_the_log(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """What was made of it, and how long it took: what operators look for when a call is missing."""
    caplog.set_level(logging.INFO, "app.delivery")
    for body in (SAMPLE, b'{"phonon-uuid": "912243692987", "keys": [17]}', b"[]"):
        await setting(body)
    setting.publisher.state = State.DOWN
    await setting()
    said = [record.__dict__["fields"] for record in caplog.records if record.name == "app.delivery"]
    assert all(0 <= fields.pop("ms") < 60_000 for fields in said)
    assert said == [
        {"flow_id": "6629a6f5-af55-41e8-a8a4-9b7b73fcf5c4", "status": 200, "events": 8, "rejected": 0},
        {"flow_id": shown("912243692987"), "status": 200, "events": 1, "rejected": 1},
        {"status": 400},
        {"flow_id": "6629a6f5-af55-41e8-a8a4-9b7b73fcf5c4", "status": 202},  # it is split when it is published
    ]
    log_delivery(503, "", None, 0.01234)
    assert caplog.records[-1].__dict__["fields"] == {"status": 503, "ms": 12.3}


async def test_gauges_say_how_the_receiver_is(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.main.OBSERVE_SECONDS", 0)
    receiver, kafka = setting.receiver, SimpleNamespace(healthy=True, reason="", statistics=(7, 900, 3))
    receiver.publisher, receiver.webhook.in_flight = cast(Any, kafka), 5
    observing = asyncio.create_task(receiver._observe())

    async def gauges() -> list[float | None]:
        await asyncio.sleep(0.01)
        names = ("ready", "kafka_healthy", "in_flight", "kafka_queue_messages", "kafka_queue_bytes", "kafka_brokers_up")
        return [receiver.metrics.registry.get_sample_value(f"phonon_{name}") for name in names]

    assert await gauges() == [1, 1, 5, 7, 900, 3]
    kafka.healthy = False
    assert (await gauges())[:2] == [1, 0], "it spools"
    receiver.stop()
    assert (await gauges())[:2] == [0, 0]
    observing.cancel()


async def test_logs_and_metrics_hold_nothing_that_was_sent(
    setting: Setting, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    await setting()
    setting.publisher.raises = ValueError(SAMPLE.decode())
    await setting()
    await setting(b'{"phonon-uuid": "912243692987", "keys": [17]}')
    setting.receiver.metrics.bring_over()
    shown = caplog.text.replace(SAMPLE.decode(), "") + setting.receiver.metrics.exposition({}).decode()
    values = set(re.findall(r'"([^"]{6,})"', SAMPLE.decode())) - {"6629a6f5-af55-41e8-a8a4-9b7b73fcf5c4"}
    assert not [value for value in values if f" {value}" in shown or (f'"{value}' in shown and ":" not in value)]
    assert "912243692987" not in [record.__dict__.get("fields", {}).get("flow_id") for record in caplog.records]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
sections = st.sampled_from(["phonon-uuid", "callDetails", "smsDetails", "keys", "recordingUrls", "body"])
documents = st.dictionaries(sections, json_values, max_size=4).map(lambda value: json.dumps(value).encode())
names = st.sampled_from(
    b"content-encoding content-length content-type authorization expect transfer-encoding traceparent "
    b"webhook-id webhook-timestamp webhook-signature x-forwarded-for".split()
)
values = st.binary(max_size=30) | st.sampled_from([b"gzip", b"100-continue", b"1"])
headers = st.lists(st.tuples(names, values), max_size=5)


@given(body=st.binary(max_size=200) | documents | documents.map(gzip.compress), sent=headers, secure=st.booleans())
@hypothesis_settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_bytes_and_any_headers_have_a_status_of_the_table(
    tmp_path: Path, body: bytes, sent: list[tuple[bytes, bytes]], secure: bool
) -> None:
    secret = {"signing_secret": base64.b64encode(b"secret").decode(), "basic_auth": "u:p"} if secure else {}
    setting = Setting(tmp_path, **secret)
    answer = await setting.send([body], headers=sent)
    assert answer.status in MEANINGS
    assert failures(setting) == [], "our own code failed"
