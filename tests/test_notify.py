"""Alerts to the outside, part by part: what is sent, when again, in what order, and how far each address is."""

import asyncio
import json
import logging
import random
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, NoReturn, cast
from urllib.parse import unquote

import pytest
from aiohttp import web
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from app.cluster import Errors
from app.credentials import Credentials, verify_signature
from app.notify import address as address_module
from app.notify import answers, measures
from app.notify.address import Address, session
from app.notify.answers import (
    LONGEST_PAUSE_SECONDS,
    LONGEST_REST_SECONDS,
    Verdict,
    pause_seconds,
    rest_seconds,
    verdict,
)
from app.notify.lane import Lane, Waiting
from app.notify.notification import read
from app.notify.progress import Arrived, Progress, mark, metadata, read_floors
from app.notify.server import Notifier, names
from app.notify.source import Kept, Source
from schemas import Undecodable, encode, registry_header
from schemas.settings import read_settings
from schemas.userinfo import basic
from tests.alerts import DID, fields, value, webhook_id
from tests.fakes import FakeRegistry

NOW_MS = 1_767_607_900_000
DAY_MS = 24 * 3600 * 1000
KEY = b"a key of ours"


def arrived(number: int, state: str = "FIRING", progress: Progress | None = None, offset: int = 0) -> Arrived:
    return Arrived(read(value(number, state), NOW_MS), progress or Progress([0]), offset, [0])


# what is sent


def test_a_record_becomes_a_standard_webhooks_message() -> None:
    told = read(value(7), NOW_MS)
    assert json.loads(told.body) == {
        "type": "did_alert.firing",
        "timestamp": "2026-01-05T10:12:00.000Z",
        "data": fields(7),
    }
    assert (told.id, told.written_at) == (webhook_id(7), NOW_MS)
    over = read(value(7, "RESOLVED", value=None), NOW_MS)
    assert json.loads(over.body)["type"] == "did_alert.resolved"
    assert over.alert_id == told.alert_id
    assert over.id != told.id
    assert "." not in told.id + over.id, "what is signed stands between full stops"


@pytest.mark.parametrize(
    "bad",
    [
        None,
        b"nothing of ours",
        value(1, "UNKNOWN"),
        value(1, alert_id="a.b"),
        value(1, alert_id="a\r\nb: c"),
        value(1, alert_id=""),
        value(1, as_of=2**62),
        encode("DidMetrics", {"did": DID, "as_of": 1, "windows": []}),
    ],
)
def test_what_is_no_alert_is_refused(bad: bytes | None) -> None:
    with pytest.raises(Undecodable):
        read(bad, NOW_MS)


# what an answer means


@pytest.mark.parametrize(
    ("statuses", "young", "old"),
    [
        ((200, 202, 204), Verdict.SENT, Verdict.SENT),
        ((0, 408, 429, 500, 502, 503, 504), Verdict.LATER, Verdict.GIVEN_UP),
        ((301, 302, 307, 400, 401, 403, 404, 410, 422), Verdict.GIVEN_UP, Verdict.GIVEN_UP),
    ],
)
def test_an_answer_is_a_verdict(statuses: tuple[int, ...], young: Verdict, old: Verdict) -> None:
    assert {verdict(status, DAY_MS - 1) for status in statuses} == {young}
    assert {verdict(status, DAY_MS) for status in statuses} == {old}


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_double_with_jitter_and_have_an_end(tries: int, chance: float) -> None:
    whole = min(2.0 ** min(tries - 1, 100), LONGEST_PAUSE_SECONDS)
    assert whole / 2 <= pause_seconds(tries, chance) <= whole


def test_the_first_pauses() -> None:
    assert [pause_seconds(tries, 0) for tries in range(1, 12)] == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 150, 150]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("999999", LONGEST_REST_SECONDS),
        ("Mon, 05 Jan 2026 10:01:30 GMT", 90),
        ("Mon, 05 Jan 2026 09:00:00 GMT", 0),
        ("Mon, 05 Jan 2026 10:01:30 +99999999999999999999", 0),
        ("²", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float) -> None:
    assert rest_seconds(text, 1_767_607_200) == seconds


# the order


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["FIRING", "RESOLVED"])), max_size=30), st.randoms())
def test_each_alert_keeps_its_order_and_each_message_is_settled_once(
    sent: list[tuple[int, str]], chance: random.Random
) -> None:
    lane, left, out, now = Lane(), deque(enumerate(sent)), list[Waiting](), 0.0
    expected, seen = defaultdict[int, list[int]](list), defaultdict[int, list[int]](list)
    until = defaultdict[int, float](float)
    for offset, (number, _) in enumerate(sent):
        expected[number].append(offset)
    while left or lane.waiting:
        now += 0.5
        if left and chance.random() < 0.6:
            offset, (number, state) = left.popleft()
            lane.add(arrived(number, state, offset=offset), now)
        if waiting := lane.take(now):
            assert until[waiting.arrived.offset] <= now, "a pause is a pause"
            out.append(waiting)
        assert len({one.arrived.notification.alert_id for one in out}) == len(out), "one message an alert at a time"
        if out and chance.random() < 0.6:
            waiting = out.pop(chance.randrange(len(out)))
            if chance.random() < 0.3:
                until[waiting.arrived.offset] = now + chance.random() * 3
                lane.postpone(waiting, until[waiting.arrived.offset])
            else:
                lane.settle(waiting, now)
                number, _ = sent[waiting.arrived.offset]
                seen[number].append(waiting.arrived.offset)
    assert seen == expected
    assert (lane.oldest(), lane.seconds(now)) == (None, None)


def test_of_those_that_are_due_at_once_the_first_is_the_first() -> None:
    lane = Lane()
    for number in (1, 2, 3):
        lane.add(arrived(number), 10.0)
    taken = [lane.take(10.0) for _ in range(4)]
    assert [one and one.arrived.notification.id for one in taken] == [*map(webhook_id, (1, 2, 3)), None]


def test_an_address_that_wants_to_be_left_alone_is() -> None:
    lane = Lane()
    lane.add(arrived(1), 10.0)
    lane.rest_until = 15.0
    assert (lane.take(14.9), lane.seconds(14.0), lane.oldest()) == (None, 1.0, NOW_MS)
    assert lane.take(15.0) is not None


# how far each address is


@given(st.lists(st.tuples(st.sampled_from(["take", "skip", "done"]), st.integers(0, 1), st.integers(0, 50))), st.data())
def test_nothing_is_committed_that_an_address_still_needs(steps: list[tuple[str, int, int]], data: Any) -> None:
    begins = data.draw(st.lists(st.integers(0, 9), min_size=2, max_size=2))
    progress, offset = Progress(begins), min(begins)
    needed: list[set[int]] = [set(), set()]
    for kind, address, pick in steps:
        if kind == "take":
            wanted = progress.take(offset)
            assert wanted == [n for n in (0, 1) if offset >= begins[n]]
            for n in wanted:
                needed[n].add(offset)
        elif kind == "skip":
            progress.skip(offset)
        elif needed[address]:
            done = sorted(needed[address])[pick % len(needed[address])]
            needed[address].remove(done)
            progress.done(address, done)
        offset += kind != "done"
        floors = progress.floors()
        assert floors == tuple(min(needed[n], default=max(offset, begins[n])) for n in (0, 1))
        assert [progress.waiting(n) for n in (0, 1)] == [len(needed[n]) for n in (0, 1)]
        assert read_floors(min(floors), metadata(floors, ["a", "b"]), ["a", "b"]) == floors


def test_an_address_that_is_new_begins_where_the_farthest_is() -> None:
    kept = metadata((40, 90), ["dead", "well"])
    assert read_floors(40, kept, ["well", "new", "dead"]) == (90, 90, 40)
    assert read_floors(40, kept, ["new"]) == (90,)
    odd = ('{"dead":"x"}', '{"dead":1e999}', '{"dead":null}', "set by hand")
    for others in (None, "", "{}", "null", "[1]", *odd):
        assert read_floors(40, others, ["dead", "well"]) == (40, 40)


def test_an_address_is_marked_and_not_shown() -> None:
    assert mark("https://hooks.example/T0/secret") == "beaee51ad026", "with another it would be a new address"
    assert mark("https://hooks.example/T0/secret") != mark("https://b/")
    assert "secret" not in mark("https://hooks.example/T0/secret")


def test_an_address_is_called_by_its_host() -> None:
    urls = ["https://u:p@a/x?k=1", "http://b:81/", "https://a/y"]
    assert names(urls) == ["a#1", "b", "a#2"]


# one address


class Hooks:
    """A server that gets alerts and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: deque[web.Response] = deque()
        self.hangs = False

    async def post(self, request: web.Request) -> web.Response:
        self.headers.append({name.lower(): text for name, text in request.headers.items()})
        self.got.append((request.headers["webhook-id"], await request.read()))
        if self.hangs:
            await asyncio.sleep(30)
        return self.answers.popleft() if self.answers else web.Response()


@pytest.fixture
async def hooks() -> AsyncIterator[tuple[Hooks, str]]:
    made, app = Hooks(), web.Application()
    app.router.add_post("/T0/secret", made.post)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield made, f"http://127.0.0.1:{runner.addresses[0][1]}/T0/secret"
    await runner.cleanup()


@pytest.fixture
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(address_module, "ANSWER_SECONDS", 0.4)


def fresh(number: int, state: str = "FIRING") -> Arrived:
    """An alert that Kafka has just got."""
    one = arrived(number, state)
    return one._replace(notification=one.notification._replace(written_at=round(time.time() * 1000)))


async def sent(url: str, *messages: Arrived, until: int) -> list[str]:
    """Send messages; the ids of those that are settled, in their order."""
    settled, all_are = list[str](), asyncio.Event()

    def settle(one: Arrived) -> None:
        settled.append(one.notification.id)
        if len(settled) == until:
            all_are.set()

    to = Address(url, "127.0.0.1", [KEY], settle)
    async with session() as http:
        running = asyncio.create_task(to.run(http))
        for message in messages:
            to.add(message)
        await asyncio.wait_for(all_are.wait(), 10)
        to.stop()
        await running
    return settled


async def test_a_message_is_signed_and_says_who_sends_it(hooks: tuple[Hooks, str]) -> None:
    server, url = hooks
    assert await sent(url, fresh(1), until=1) == [webhook_id(1)]
    (headers,), ((_, body),) = server.headers, server.got
    asked = {name.encode(): text.encode() for name, text in headers.items()}
    verify_signature(Credentials(signing=(KEY,)), asked, body, now=time.time())
    assert headers["content-type"] == "application/json"
    assert body == read(value(1), 0).body


@pytest.mark.parametrize("pair", ["u:пароль", "a%3Ab:c", "only"])
async def test_any_user_and_password_may_stand_in_the_address(hooks: tuple[Hooks, str], pair: str) -> None:
    """aiohttp takes neither what is no Latin-1 nor a colon in the user: the first alert ended the process."""
    server, url = hooks
    assert await sent(url.replace("://", f"://{pair}@"), fresh(1), until=1) == [webhook_id(1)]
    assert server.headers[0]["authorization"] == basic({"only": "only:"}.get(pair, unquote(pair)))


async def test_what_fails_comes_again_and_in_order(
    hooks: tuple[Hooks, str], swift: None, caplog: pytest.LogCaptureFixture
) -> None:
    server, url = hooks
    caplog.set_level(logging.DEBUG)
    server.answers += [web.Response(status=status) for status in (500, 503, 429, 408)]
    settled = await sent(url, fresh(1), fresh(1, "RESOLVED"), until=2)
    assert settled == [webhook_id(1), webhook_id(1, "RESOLVED")]
    assert [id_ for id_, _ in server.got] == [webhook_id(1)] * 5 + [webhook_id(1, "RESOLVED")]
    lines = [(record.levelname, record.getMessage(), getattr(record, "fields", {})) for record in caplog.records]
    ours = [line for line in lines if line[1].startswith(("alert", "address"))]
    assert [(level, text) for level, text, _ in ours] == [
        ("WARNING", "address does not take alerts"),
        ("INFO", "address takes alerts again"),
        ("INFO", "alert sent"),
        ("INFO", "alert sent"),
    ]
    assert ours[2][2] == {
        "alert_id": fields(1)["alert_id"],
        "rule": "few answers",
        "state": "FIRING",
        "address": "127.0.0.1",
        "status": 200,
        "tries": 5,
    }
    assert not [line for line in lines if "secret" in str(line) or DID in str(line)]


async def test_what_time_does_not_mend_is_given_up_at_once(
    hooks: tuple[Hooks, str], caplog: pytest.LogCaptureFixture
) -> None:
    server, url = hooks
    server.answers += [web.Response(status=410), web.Response(status=302, headers={"location": url})]
    assert await sent(url, fresh(1), fresh(1, "RESOLVED"), fresh(2), until=3)
    assert len(server.got) == 3
    given_up = [record for record in caplog.records if record.getMessage() == "alert given up"]
    assert [record.fields["status"] for record in given_up] == [410, 302]  # type: ignore[attr-defined]


async def test_what_is_a_day_old_is_tried_once(hooks: tuple[Hooks, str]) -> None:
    server, url = hooks
    server.answers += [web.Response(status=503)]
    assert len(await sent(url, arrived(1), arrived(2), until=2)) == 2
    assert len(server.got) == 2


async def test_an_address_that_hangs_is_left_and_another_alert_is_not_held_up(
    hooks: tuple[Hooks, str], swift: None
) -> None:
    server, url = hooks
    server.hangs = True
    sending = asyncio.create_task(sent(url, *map(fresh, range(6)), until=6))
    await asyncio.sleep(1)
    assert len({id_ for id_, _ in server.got}) == 6, "each has had its turn"
    server.hangs = False
    assert sorted(await sending) == sorted(map(webhook_id, range(6)))


async def test_an_address_that_asks_for_a_rest_gets_it(hooks: tuple[Hooks, str], swift: None) -> None:
    server, url = hooks
    server.answers += [web.Response(status=429, headers={"retry-after": "1"})]
    begun = time.time()
    await sent(url, fresh(1), until=1)
    assert time.time() - begun > 0.9


async def test_a_rest_outlives_that_what_waits_is_forgotten(hooks: tuple[Hooks, str]) -> None:
    server, url = hooks
    server.answers += [web.Response(status=429, headers={"retry-after": "60"})]
    to = Address(url, "127.0.0.1", [], lambda _arrived: None)
    async with session() as http:
        running = asyncio.create_task(to.run(http))
        to.add(fresh(1))
        while not to.lane.rest_until:  # noqa: ASYNC110 - a lane tells nobody
            await asyncio.sleep(0.01)
        to.begin()  # a rebalance
        assert (to.lane.waiting, to.lane.oldest()) == (0, None), "another process sends it now"
        to.add(fresh(2))
        await asyncio.sleep(0.3)
        to.stop()
        await running
    assert [id_ for id_, _ in server.got] == [webhook_id(1)]


async def test_more_than_memory_holds_is_given_up(
    hooks: tuple[Hooks, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(address_module, "MOST_WAITING", 3)
    assert len(await sent(hooks[1], *map(fresh, range(5)), until=5)) == 5
    assert len(hooks[0].got) == 3
    assert [r.fields["status"] for r in caplog.records if "given up" in r.getMessage()] == ["too many wait"] * 2  # type: ignore[attr-defined]


# a schema registry


def stored(offset: int, content: bytes) -> Message:
    """A message as librdkafka gives it."""
    return Message(partition=0, offset=offset, value=content, timestamp=(1, NOW_MS))


class Seeks:
    """A consumer that is only told where to go on."""

    def __init__(self) -> None:
        self.places: list[int] = []

    def seek(self, place: Any) -> None:
        self.places.append(place.offset)


@pytest.mark.parametrize(("status", "failed"), [(200, 0), (299, 0), (300, 1), (500, 1), (answers.NO_ANSWER, 1)])
def test_an_address_is_well_or_not_by_its_last_answer(
    status: int, failed: int, caplog: pytest.LogCaptureFixture
) -> None:
    address = Address("http://a/", f"answers {status}", [], lambda _arrived: None)
    for _ in range(2):
        address._tell(status)
    assert measures.FAILED.labels(address.name)._value.get() == 2 * failed
    assert caplog.messages == ["address does not take alerts"] * failed


def test_an_address_has_figures_from_its_start() -> None:
    """A rate over a counter that is not there yet misses its first step."""
    Address("http://a/", "figures", [], lambda _arrived: None)
    for counter in (measures.SENT, measures.FAILED, measures.GIVEN_UP):
        samples = [sample for metric in counter.collect() for sample in metric.samples]
        assert [s.value for s in samples if s.name.endswith("_total") and "figures" in s.labels.values()] == [0.0]


def test_kafka_that_fails_is_tried_again_and_an_error_of_ours_is_told_to_who_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the process would say that it is ready, and send nothing any more."""
    fails: list[Exception] = [KafkaException(KafkaError(KafkaError._TRANSPORT)), KeyError("ours")]
    troubles: list[str] = []

    def make_consumer(*_arguments: object) -> NoReturn:
        troubles.append(source.trouble)
        raise fails[len(troubles) - 1]

    monkeypatch.setattr("app.notify.source.RETRY_SECONDS", 0)
    monkeypatch.setattr("app.notify.source.make_consumer", make_consumer)
    settings = read_settings({"PHONON_ALERT_WEBHOOK_URL": "http://a/"})
    source = Source(settings, None, begin=lambda: None, deliver=lambda _arrived: None)
    source.start()
    source._thread.join(5)
    assert source.failure is fails[1]
    assert troubles[0] == "not connected yet"
    assert troubles[1] not in ("", troubles[0])


def test_a_partition_waits_for_the_registry_and_passes_over_what_is_no_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.notify.source.RETRY_SECONDS", 0)
    register, consumer, delivered = FakeRegistry({7: "DidAlert"}), Seeks(), list[Arrived]()
    settings = read_settings({"PHONON_ALERT_WEBHOOK_URL": "http://a/ http://b/"})
    source = Source(settings, cast(Any, register), begin=lambda: None, deliver=delivered.extend)
    source._held[0] = Progress([5, 7])
    framed = registry_header(7) + value(2)[10:]
    messages = [stored(5, value(1)), stored(6, b"no alert"), stored(7, framed), stored(8, value(3))]
    unreadable = measures.UNREADABLE._value.get()
    source._take(cast(Any, consumer), messages)
    assert measures.UNREADABLE._value.get() == unreadable + 1
    assert ([one.offset for one in delivered], consumer.places) == ([5], [7])
    assert "does not answer" in source.trouble
    register.away = False
    source._take(cast(Any, consumer), messages[2:])
    assert [(one.notification.id, one.wanted) for one in delivered] == [
        (webhook_id(1), [0]),
        (webhook_id(2), [0, 1]),
        (webhook_id(3), [0, 1]),
    ]
    assert source.trouble == ""
    source.settle(delivered[0], 0)
    source._settle()
    assert source._held[0].floors() == (7, 7)


def test_offsets_that_go_back_are_another_topics_and_all_of_it_is_sent() -> None:
    """A topic that is made anew within seconds is no reason for Kafka to give its partitions out again."""
    delivered = list[Arrived]()
    settings = read_settings({"PHONON_ALERT_WEBHOOK_URL": "http://a/ http://b/"})
    source = Source(settings, None, begin=lambda: None, deliver=delivered.extend)
    source._held[0] = Progress([5, 7])
    before = [stored(5, value(1)), stored(6, value(2)), stored(7, value(3))]
    after = [stored(2, value(4)), stored(3, b"no alert"), stored(4, value(5))]
    source._take(cast(Any, None), before)
    source._take(cast(Any, None), after)
    assert [one.wanted for one in delivered] == [[0], [0], [0, 1], [0, 1], [0, 1]]
    for one in delivered[:3]:  # what waits of the topic before is no place in this one
        source.settle(one, 0)
    source._settle()
    assert source._held[0].floors() == (2, 2)
    for address in (0, 1):
        source.settle(delivered[3], address)
    source._settle()
    assert source._held[0].floors() == (4, 4)


# the group's place in a partition


MARKS = [mark("http://a/"), mark("http://b/")]
NOT_KEPT = -1001  # what librdkafka says of a partition that the group has committed nothing of


class Partition:
    """A consumer of a group with one partition. `turns`: what happens just before each time that it is asked."""

    def __init__(self, low: int, high: int, kept: int = 0, said: str = "", *, each: int = 500) -> None:
        self.low, self.high, self.kept, self.said, self.each = low, high, kept, said, each
        self.other = 7  # what the group has committed of another partition
        self.at: int | None = None
        self.rests = self.fails = self.away = False
        self.commits: list[tuple[int, str]] = []
        self.read: list[list[int]] = []  # the offsets given at each turn
        self.voided: list[int] = []  # the turns at which all that was delivered became void
        self.turns: dict[int, Callable[[], None]] = {}

    def opened(self, _settings: object, _errors: object, kept: Kept) -> "Partition":
        self.tell = kept
        return self

    def subscribe(self, _topics: list[str], *, on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.turns.setdefault(0, lambda: on_assign(self, [TopicPartition("alerts", 0)]))
        self.revoke: Callable[[], None] = lambda: on_revoke(self, [TopicPartition("alerts", 0)])
        self.lose: Callable[[], None] = lambda: on_lost(self, [TopicPartition("alerts", 0)])

    def list_topics(self, topic: str, *, timeout: float) -> Any:
        if self.away:
            time.sleep(0.01)
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None, 1: None})})

    def poll(self, _seconds: float) -> None: ...

    def get_watermark_offsets(self, _place: TopicPartition, *, timeout: float) -> tuple[int, int]:
        return self.low, self.high

    def committed(self, _places: object, *, timeout: float) -> list[TopicPartition]:
        return [TopicPartition("alerts", 0, self.kept, self.said), TopicPartition("alerts", 1, self.other)]

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool = True) -> None:
        assert offsets, "Kafka is asked for nothing"
        assert asynchronous or not self.away, "waits for ever"
        error = KafkaError(KafkaError._TRANSPORT)
        if self.fails and not asynchronous:
            raise KafkaException(error)
        if self.fails:
            self.tell(error, offsets)
            return
        self.commits += [(place.offset, place.metadata or "") for place in offsets]

    def assign(self, places: list[TopicPartition]) -> None:
        self.at = places[0].offset if places else None

    def assignment(self) -> list[TopicPartition]:
        return [] if self.at is None else [TopicPartition("alerts", 0)]

    def pause(self, places: list[TopicPartition]) -> None:
        self.rests = bool(places)

    def resume(self, _places: list[TopicPartition]) -> None:
        self.rests = False

    def consume(self, _number: int, _seconds: float) -> list[Message]:
        self.turns.pop(len(self.read), lambda: None)()
        begin = self.high if self.at is None or self.rests else self.at
        offsets = list(range(begin, min(begin + self.each, self.high)))
        if offsets:
            self.at = offsets[-1] + 1
        self.read.append(offsets)
        return [stored(offset, value(offset)) for offset in offsets]

    def close(self) -> None:
        assert not self.away, "waits for ever"


def followed(partition: Partition, monkeypatch: pytest.MonkeyPatch, *, turns: int) -> tuple[Source, list[Arrived]]:
    """A source that will follow a partition for so many turns (`source._follow()`), and what it then delivers."""
    delivered = list[Arrived]()
    settings = read_settings({"PHONON_ALERT_WEBHOOK_URL": "http://a/ http://b/"})
    begin = lambda: partition.voided.append(len(partition.read))  # noqa: E731
    source = Source(settings, None, begin=begin, deliver=delivered.extend)
    monkeypatch.setattr("app.notify.source.make_consumer", partition.opened)
    partition.turns[turns] = source._stop.set
    return source, delivered


@pytest.mark.parametrize(
    ("kept", "said", "wanted"),
    [
        (NOT_KEPT, "", {n: [0, 1] for n in range(2, 9)}),
        (5, metadata((5, 7), MARKS), {5: [0], 6: [0], 7: [0, 1], 8: [0, 1]}),
        (6, "set by hand", {6: [0, 1], 7: [0, 1], 8: [0, 1]}),
        (9, metadata((9, 9), MARKS), {}),
        (50, metadata((50, 60), MARKS), {n: [0, 1] for n in range(2, 9)}),
        (5, metadata((5, 10), MARKS), {n: [0, 1] for n in range(2, 9)}),
    ],
    ids=["a partition that was added", "a restart", "an offset alone", "nothing new", "made anew", "made anew, longer"],
)
def test_each_address_gets_what_it_has_not_had(
    monkeypatch: pytest.MonkeyPatch, kept: int, said: str, wanted: dict[int, list[int]]
) -> None:
    """Of a topic that was made anew and is shorter than where somebody was, all."""
    source, delivered = followed(Partition(2, 9, kept, said), monkeypatch, turns=3)
    source._follow()
    assert {one.offset: one.wanted for one in delivered} == wanted
    assert len(delivered) == len(wanted)


def test_a_new_group_begins_at_the_end_and_keeps_that_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    partition = Partition(2, 9, NOT_KEPT)
    partition.other = NOT_KEPT
    source, delivered = followed(partition, monkeypatch, turns=2)
    source._follow()
    assert (delivered, partition.at) == ([], 9)
    assert [at for at, _ in partition.commits[:2]] == [9, 9], (
        "both partitions', though one of them is another's to read"
    )


def test_what_is_settled_is_kept_once_and_again_where_kafka_did_not_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    partition = Partition(0, 3, 0, metadata((0, 1), MARKS))
    source, delivered = followed(partition, monkeypatch, turns=12)

    def settle(offset: int, *addresses: int, fails: bool = False) -> None:
        partition.fails = fails
        for address in addresses:
            source.settle(delivered[offset], address)

    def revoke() -> None:
        settle(1, 1)
        partition.revoke()

    partition.turns |= {
        4: lambda: settle(1, 0),  # the one before it is not settled
        6: lambda: settle(0, 0, fails=True),
        8: lambda: setattr(partition, "fails", False),
        10: lambda: settle(2, 0, 1),
        11: revoke,
    }
    source._follow()
    assert [(at, read_floors(at, said, MARKS)) for at, said in partition.commits] == [
        (0, (0, 1)), (1, (2, 1)), (1, (3, 1)), (3, (3, 3)),
    ]  # fmt: skip


def test_reading_rests_while_even_the_farthest_address_has_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an outage of all of them would fill the memory; one that is behind holds up nobody."""
    monkeypatch.setattr("app.notify.source.MOST_AHEAD", 3)
    partition = Partition(0, 20, 0, metadata((0, 4), MARKS), each=1)
    source, delivered = followed(partition, monkeypatch, turns=20)
    partition.turns |= {
        12: lambda: source.settle(delivered[0], 0),
        14: lambda: source.settle(delivered[4], 1),
    }
    source._follow()
    assert [len(offsets) for offsets in partition.read] == [0, *[1] * 7, *[0] * 7, 1, *[0] * 5]


def test_what_is_lost_to_another_process_is_neither_kept_nor_sent_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lost a partition without having been asked may not commit for it any more: it is another's."""
    partition = Partition(0, 3, 0, metadata((0, 1), MARKS))
    source, delivered = followed(partition, monkeypatch, turns=5)

    def lose() -> None:
        source.settle(delivered[0], 0)
        partition.lose()

    partition.turns[3] = lose
    source._follow()
    assert (len(partition.commits), partition.voided) == (1, [1, 3, 6])


def test_a_consumer_that_nobody_answers_for_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka forgot all brokers when metadata named none, and never connected again (its issue 5301)."""
    monkeypatch.setattr("app.notify.source.PROBE_SECONDS", 0)
    monkeypatch.setattr("app.cluster.REPLACED_AFTER_SECONDS", 0.2)
    partition = Partition(0, 3)
    source, delivered = followed(partition, monkeypatch, turns=1_000_000)

    def away() -> None:
        partition.away = True
        source.settle(delivered[0], 0)

    partition.turns[5] = away
    source._follow()
    assert (len(delivered), partition.voided) == (3, [1, len(partition.read)])
    assert not source._stop.is_set()
    assert source.trouble.startswith("no answer from Kafka")


def test_why_the_group_is_not_for_us_is_said_and_what_is_fatal_begins_anew() -> None:
    source, partition = (
        Source(read_settings({}), None, begin=lambda: None, deliver=lambda _arrived: None),
        Partition(0, 0),
    )
    refused = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, "not for you")
    source._take(cast(Any, partition), [Message(error=refused)])
    source._probe(cast(Any, partition), Errors(""))
    assert source.trouble == "waiting for the group (not for you)"
    with pytest.raises(KafkaException):
        source._take(cast(Any, partition), [Message(error=KafkaError(KafkaError._FATAL, "fenced", fatal=True))])


class Part:
    """An address that has nothing to send, or one that fails."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.stopped = error, asyncio.Event()

    async def run(self, _http: object) -> None:
        if self.error:
            raise self.error
        await self.stopped.wait()

    def stop(self) -> None:
        self.stopped.set()


@pytest.mark.parametrize(("source", "address"), [(ValueError("a bug"), None), (None, ValueError("a bug"))])
async def test_where_a_part_fails_all_ends_with_its_error(source: Exception | None, address: Exception | None) -> None:
    """It would send nothing any more, and look alive; whoever keeps it running starts it again."""
    notifier = Notifier(read_settings({"PHONON_ALERT_WEBHOOK_URL": "http://a"}), [])
    notifier.source = cast(Any, SimpleNamespace(failure=source))
    notifier.addresses = cast(Any, [Part(None), Part(address)])
    with pytest.raises(ValueError, match="a bug"):
        await asyncio.wait_for(notifier._send(asyncio.Event()), 5)
