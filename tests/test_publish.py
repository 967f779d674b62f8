"""The publisher: what it believes of Kafka, and when it changes its mind. The fake producer is held to the real one."""

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

import pytest
from confluent_kafka import KafkaError
from msgspec.structs import replace

from app import publish
from app.demo.broker import Broker
from app.kafka_errors import ALIASES
from app.outcomes import State, Unacknowledged, Unpublishable
from app.producer import QUEUE_MESSAGES, open_producers, producer_config
from app.publish import SLICE_RECORDS, Publisher, needed_topics
from app.records import Record
from app.topics import create_topics
from schemas.refusals import NOT_PERMITTED, WRONG_CREDENTIALS, WRONG_TIME
from schemas.settings import SettingsError, read_settings
from tests.fakes import FakeProducer

TOPICS = needed_topics("phonon")
STALL = 0.15
A_RECORD = Record("phonon.flow.v1", b"+912243692987", b"value", [("ce_id", b"1")])


class Setting:
    """A publisher on a fake producer."""

    def __init__(self) -> None:
        self.fake = FakeProducer(TOPICS)
        self.publisher = Publisher(self._opened, topics=TOPICS, stall_after=STALL)

    def _opened(self, callbacks: Mapping[str, Any]) -> FakeProducer:
        self.fake.callbacks = dict(callbacks)
        return self.fake


class Opened(list[FakeProducer]):
    """Opens another producer each time it is asked."""

    def __call__(self, callbacks: Mapping[str, Any]) -> FakeProducer:
        self.append(FakeProducer(TOPICS, callbacks))
        return self[-1]


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    made = Setting()
    await made.publisher.start()
    yield made
    made.fake.hangs = False
    await made.publisher.stop()


async def is_healthy(publisher: Publisher, *, within_seconds: float = 3) -> bool:
    try:
        async with asyncio.timeout(within_seconds):
            while not publisher.healthy:  # noqa: ASYNC110 - it has no event to wait for
                await asyncio.sleep(0.01)
    except TimeoutError:
        return False
    return True


async def test_it_returns_when_all_is_acknowledged(setting: Setting) -> None:
    assert setting.publisher.healthy
    await setting.publisher.publish([A_RECORD] * 8)
    assert len(setting.fake.produced) == 8
    assert not setting.publisher._waiting


async def test_nothing_is_never_acknowledged(setting: Setting) -> None:
    """There are no records where nobody knows how to frame them; that is no silence of Kafka's."""
    with pytest.raises(Unacknowledged, match="nothing to publish"):
        await setting.publisher.publish([])
    assert setting.publisher.healthy


async def test_the_start_waits_for_an_answer_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "START_SECONDS", 0.05)
    goes_on = threading.Event()

    def before() -> str:
        goes_on.wait(5)
        return ""

    publisher = Publisher(lambda _callbacks: FakeProducer(TOPICS), topics=TOPICS, stall_after=STALL, before=before)
    await publisher.start()
    assert (publisher.state, publisher.reason) == (State.DOWN, "not asked yet")
    goes_on.set()
    assert await is_healthy(publisher)
    await publisher.stop()


async def test_an_outage_is_logged_once_and_the_next_one_too(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    told = ["kafka is down: no answer (_ALL_BROKERS_DOWN)", "not publishing: no answer (_TRANSPORT)"]
    for number in (1, 2):
        setting.fake.away = True
        setting.fake.callbacks["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))
        await asyncio.sleep(3 * publish.RETRY_SECONDS)
        setting.fake.away = False
        assert await is_healthy(setting.publisher)
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert warnings == told * number


async def test_a_large_delivery_goes_in_slices(setting: Setting) -> None:
    await setting.publisher.publish([A_RECORD] * (2 * SLICE_RECORDS + 1))
    assert len(setting.fake.produced) == 2 * SLICE_RECORDS + 1


async def test_a_hang_gives_everything_back_at_once(setting: Setting) -> None:
    setting.fake.hangs = True
    outcomes = await asyncio.gather(*(setting.publisher.publish([A_RECORD]) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unacknowledged] * 5
    assert setting.publisher.state is State.DOWN
    produced = len(setting.fake.produced)
    with pytest.raises(Unacknowledged):
        await setting.publisher.publish([A_RECORD])
    assert len(setting.fake.produced) == produced, "nothing is tried while Kafka is down"


async def until(publisher: Publisher, state: State) -> None:
    async with asyncio.timeout(3):
        while publisher.state is not state:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)


async def hang_until_trying(setting: Setting) -> None:
    setting.fake.hangs = True
    with pytest.raises(Unacknowledged):
        await setting.publisher.publish([A_RECORD])
    setting.fake.hangs = False
    await until(setting.publisher, State.TRYING)


@pytest.mark.parametrize("failed", range(3))
@pytest.mark.parametrize(
    ("code", "raised", "healthy"),
    [(KafkaError._MSG_TIMED_OUT, Unacknowledged, False), (KafkaError.INVALID_RECORD, Unpublishable, True)],
)
async def test_a_delivery_is_as_good_as_the_worst_of_its_records(
    setting: Setting, failed: int, code: int, raised: type[Exception], healthy: bool
) -> None:
    setting.fake.hangs = True
    published = asyncio.create_task(setting.publisher.publish([A_RECORD] * 3))
    await asyncio.sleep(0)
    for number, acknowledge in enumerate(setting.fake._queue):
        assert not published.done()
        acknowledge(KafkaError(code) if number == failed else None, setting.fake.message)
    with pytest.raises(raised):
        await published
    assert setting.publisher.healthy is healthy
    if not healthy:  # metadata alone is not enough then
        setting.fake.hangs = False
        await until(setting.publisher, State.TRYING)


@pytest.mark.parametrize(
    ("age", "quiet", "late"),
    [(1.0, 1.0, False), (1.1, 0.6, True), (1.1, 0.5, False), (2.0, 0.5, False), (2.1, 0.0, True)],
)
def test_who_acknowledges_others_meanwhile_has_twice_as_long(age: float, quiet: float, late: bool) -> None:
    publisher = Publisher(lambda _callbacks: FakeProducer(TOPICS), topics=TOPICS, stall_after=1)
    assert publisher._is_late(age, quiet) is late


async def test_after_a_hang_one_delivery_at_a_time_tries(setting: Setting) -> None:
    await hang_until_trying(setting)
    probe = asyncio.create_task(setting.publisher.publish([A_RECORD]))
    await asyncio.sleep(0)
    with pytest.raises(Unacknowledged):
        await setting.publisher.publish([A_RECORD])
    await probe
    assert setting.publisher.healthy


async def test_what_was_spooled_may_take_as_long_as_it_takes_while_kafka_is_tried(setting: Setting) -> None:
    """Else nothing at all reached a Kafka that is always later than live deliveries may wait for."""
    await hang_until_trying(setting)
    setting.fake.hangs = True
    drained = [asyncio.create_task(setting.publisher.publish([A_RECORD], live=False)) for _ in range(3)]
    await asyncio.sleep(2 * STALL)
    with pytest.raises(Unacknowledged):  # at once: those show how Kafka is
        await asyncio.wait_for(setting.publisher.publish([A_RECORD]), STALL / 2)
    await asyncio.sleep(2 * STALL)
    setting.fake.hangs = False
    await asyncio.gather(*drained)
    assert setting.publisher.state is State.TRYING, "it is too slow still"
    await setting.publisher.publish([A_RECORD], live=False)
    assert setting.publisher.healthy


async def test_a_live_delivery_that_is_late_does_not_stop_the_drain(setting: Setting) -> None:
    await hang_until_trying(setting)
    setting.fake.hangs = True
    live = asyncio.create_task(setting.publisher.publish([A_RECORD]))
    await asyncio.sleep(0)
    drained = asyncio.create_task(setting.publisher.publish([A_RECORD], live=False))
    with pytest.raises(Unacknowledged):
        await asyncio.wait_for(live, 3 * STALL)
    assert setting.publisher.state is State.TRYING
    setting.fake.hangs = False
    await drained


async def test_what_was_spooled_and_is_on_its_way_outlives_an_outage(setting: Setting) -> None:
    """It is not sent again; only what had not left is, and that says nothing of Kafka."""
    setting.fake.hangs = True
    setting.fake.purge = lambda **_: None  # type: ignore[method-assign]
    drained = [asyncio.create_task(setting.publisher.publish([A_RECORD], live=False)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unacknowledged):
        await setting.publisher.publish([A_RECORD])
    setting.fake.away, setting.fake.hangs = True, False
    setting.fake._queue.pop(0)(KafkaError(KafkaError._PURGE_QUEUE), None)
    async with asyncio.timeout(3):
        assert [*map(type, await asyncio.gather(*drained, return_exceptions=True))] == [Unacknowledged, type(None)]
    setting.fake.away = False
    await until(setting.publisher, State.TRYING)
    purged = asyncio.create_task(setting.publisher.publish([A_RECORD], live=False))
    await asyncio.sleep(0)
    setting.fake._queue.pop(0)(KafkaError(KafkaError._PURGE_QUEUE), None)
    with pytest.raises(Unacknowledged):
        await purged
    assert setting.publisher.state is State.TRYING


@pytest.mark.parametrize(
    ("fell", "age", "quick"), [(9.0, 0.6, False), (9.0, 0.5, True), (10.0, 1.0, True), (10.0, 1.1, False)]
)
def test_just_after_an_outage_kafka_must_be_twice_as_quick(fell: float, age: float, quick: bool) -> None:
    publisher = Publisher(lambda _callbacks: FakeProducer(TOPICS), topics=TOPICS, stall_after=1)
    publisher._seen = publisher._fell_at + fell
    assert publisher._is_quick(age) is quick


async def test_a_failed_probe_is_down_again(setting: Setting) -> None:
    await hang_until_trying(setting)
    setting.fake.hangs = True
    with pytest.raises(Unacknowledged):
        await setting.publisher.publish([A_RECORD])
    assert not setting.publisher.healthy


@pytest.mark.parametrize(("in_sync", "said"), [(3, False), (1, True)])
async def test_what_may_keep_acknowledgements_away_is_said_when_a_probe_fails(
    setting: Setting, in_sync: int, said: bool
) -> None:
    setting.fake.in_sync = in_sync
    await hang_until_trying(setting)
    setting.fake.hangs = True
    with pytest.raises(Unacknowledged) as refused:
        await setting.publisher.publish([A_RECORD])
    of = f"replicas of phonon.call-leg.v1 and {len(TOPICS) - 1} more are out of sync: too few for min.insync.replicas?"
    assert (of in str(refused.value)) is said
    setting.fake.hangs, setting.fake.in_sync = False, 3
    await until(setting.publisher, State.TRYING)
    await setting.publisher.publish([A_RECORD])
    setting.fake.hangs = True
    with pytest.raises(Unacknowledged) as again:
        await setting.publisher.publish([A_RECORD])
    assert "out of sync" not in str(again.value)


async def test_a_partition_without_a_leader_is_named_when_a_probe_fails(setting: Setting) -> None:
    setting.fake.in_sync, setting.fake.leader = 1, -1
    await hang_until_trying(setting)
    setting.fake.hangs = True
    with pytest.raises(Unacknowledged) as refused:
        await setting.publisher.publish([A_RECORD])
    of = f"; partition 0 of phonon.call-leg.v1 has no leader (and {len(TOPICS) - 1} more)"
    assert str(refused.value).endswith(of)
    setting.fake.hangs = False
    await until(setting.publisher, State.TRYING)
    setting.fake.hangs = True
    drained = [asyncio.create_task(setting.publisher.publish([A_RECORD], live=False)) for _ in range(2)]
    await asyncio.sleep(0)
    setting.fake._queue.pop()(KafkaError(KafkaError._MSG_TIMED_OUT), None)
    with pytest.raises(Unacknowledged):
        await drained.pop()
    assert setting.publisher.reason == f"no answer (_MSG_TIMED_OUT){of}"
    setting.fake.hangs = False
    await drained.pop()


async def test_broken_connections_without_loss_heal_by_metadata(setting: Setting) -> None:
    setting.fake.away = True
    setting.fake.callbacks["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert setting.publisher.state is State.DOWN
    setting.fake.away = False
    assert await is_healthy(setting.publisher)


async def test_an_error_of_one_request_is_not_an_outage(setting: Setting) -> None:
    setting.fake.callbacks["error_cb"](KafkaError(KafkaError._TRANSPORT))
    assert setting.publisher.healthy


async def test_draining_is_not_watched_by_the_stall_clock(setting: Setting) -> None:
    setting.fake.hangs = True
    drained = asyncio.create_task(setting.publisher.publish([A_RECORD], live=False))
    await asyncio.sleep(3 * STALL)
    assert setting.publisher.healthy
    setting.fake.hangs = False
    await drained


async def test_a_missing_topic_is_said(setting: Setting) -> None:
    asked, ask = list[float](), setting.fake.list_topics

    def list_topics(*, timeout: float) -> Any:
        asked.append(timeout)
        return ask(timeout=timeout)

    setting.fake.list_topics = list_topics  # type: ignore[method-assign]
    setting.fake.topics = TOPICS - {"phonon.sms.v1"}
    setting.fake.callbacks["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))
    await asyncio.sleep(0.5)
    assert 1 <= len(asked) <= 3, "not without a pause"
    assert setting.publisher.reason == "topic phonon.sms.v1 is missing: phonon-events topics create"
    with pytest.raises(Unacknowledged, match="missing"):
        await setting.publisher.publish([A_RECORD])
    setting.fake.topics = TOPICS
    assert await is_healthy(setting.publisher), "it is asked until it is there"


async def test_a_wrong_password_is_said(setting: Setting) -> None:
    setting.fake.away = True
    setting.fake.callbacks["error_cb"](KafkaError(KafkaError._AUTHENTICATION))
    await asyncio.sleep(0.5)
    assert setting.publisher.reason == f"Kafka {WRONG_CREDENTIALS}"


async def test_why_there_is_no_answer_is_said_as_a_connection_tells_it(setting: Setting) -> None:
    told = setting.fake.callbacks["error_cb"]
    setting.fake.away = True
    refused = "k:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused"
    told(KafkaError(KafkaError._TRANSPORT, f"{refused} (after 0ms in state CONNECT)"))
    assert setting.publisher.healthy, "one connection of several"
    told(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert setting.publisher.reason == f"no answer ({refused})"
    setting.fake.away = False
    assert await is_healthy(setting.publisher)


async def test_a_connection_that_broke_long_ago_is_not_why_there_is_no_answer_now(setting: Setting) -> None:
    """A broker that was restarted last week, say; what is acknowledged since then proves that it is over."""
    told = setting.fake.callbacks["error_cb"]
    told(KafkaError(KafkaError._TRANSPORT, "k:9092/1: Disconnected (after 600000ms in state UP)"))
    await setting.publisher.publish([A_RECORD])
    told(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert setting.publisher.reason == "no answer (_ALL_BROKERS_DOWN)"


async def test_a_broker_whose_name_can_not_be_resolved_is_said(setting: Setting) -> None:
    """What it advertises is wrong, or DNS is: every question then just times out."""
    setting.fake.away = True
    why = "kafka-1:9092/1: Failed to resolve 'kafka-1:9092': Name or service not known"
    setting.fake.callbacks["error_cb"](KafkaError(KafkaError._RESOLVE, f"{why} (after 7ms in state CONNECT)"))
    setting.fake.callbacks["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))
    await asyncio.sleep(0.5)
    assert setting.publisher.reason == f"no answer ({why})"


async def test_what_is_reported_as_delivered_without_an_offset_is_not(setting: Setting) -> None:
    setting.fake.offset = None
    with pytest.raises(Unacknowledged, match="_NO_OFFSET"):
        await setting.publisher.publish([A_RECORD])
    setting.fake.offset = 0
    await until(setting.publisher, State.TRYING)
    await setting.publisher.publish([A_RECORD])
    assert setting.publisher.healthy


@pytest.mark.parametrize("told_by", ["poll", "produce"])
async def test_after_a_fatal_error_another_producer_publishes(told_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer that met one never publishes again, and still lists topics."""
    monkeypatch.setattr(publish, "REOPEN_SECONDS", 0.05)
    opened = Opened()
    publisher = Publisher(opened, topics=TOPICS, stall_after=STALL)
    await publisher.start()
    await publisher.publish([A_RECORD])
    if told_by == "poll":
        opened[0].fatal = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
        await until(publisher, State.DOWN)
        assert publisher.reason == "no answer (OUT_OF_ORDER_SEQUENCE_NUMBER)"
    else:
        opened[0].dead = True
    with pytest.raises(Unacknowledged):
        await publisher.publish([A_RECORD])
    await until(publisher, State.TRYING)
    await publisher.publish([A_RECORD])
    assert publisher.healthy
    assert [len(one.produced) for one in opened] == [1, 1]
    await publisher.stop()


async def test_a_producer_that_gets_no_answer_for_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen: librdkafka forgot all brokers when metadata named none, and never connected again (its issue 5301)."""
    monkeypatch.setattr(publish, "REPLACED_AFTER_SECONDS", 0.4)
    opened = Opened()
    publisher = Publisher(opened, topics=TOPICS, stall_after=STALL)
    await publisher.start()
    await asyncio.sleep(0.5)  # how long it was well before counts for nothing
    opened[0].away = True
    opened[0].callbacks["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))
    await asyncio.sleep(0.2)
    assert len(opened) == 1
    assert await is_healthy(publisher)
    await publisher.publish([A_RECORD])
    assert [len(one.produced) for one in opened] == [0, 1]
    opened[1].away = opened[1].forgot = True  # nothing to wait for
    opened[1].callbacks["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert await is_healthy(publisher, within_seconds=0.3)
    assert len(opened) == 3
    await publisher.stop()


async def test_what_a_replaced_producer_holds_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its callbacks come no more: what was being drained would wait for ever."""
    monkeypatch.setattr(publish, "REPLACED_AFTER_SECONDS", 0.2)
    opened = Opened()
    publisher = Publisher(opened, topics=TOPICS, stall_after=STALL)
    await publisher.start()
    opened[0].hangs = True
    drained = asyncio.ensure_future(publisher.publish([A_RECORD], live=False))
    await asyncio.sleep(0)
    opened[0].callbacks["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))
    with pytest.raises(Unacknowledged):
        await asyncio.wait_for(drained, 2)
    await publisher.stop()


@pytest.mark.parametrize(
    ("code", "words"),
    [(KafkaError.CLUSTER_AUTHORIZATION_FAILED, NOT_PERMITTED), (KafkaError.INVALID_TIMESTAMP, WRONG_TIME)],
)
async def test_what_kafka_refuses_is_said_in_words(setting: Setting, code: int, words: str) -> None:
    setting.fake.refuses = KafkaError(code)
    with pytest.raises(Unacknowledged):
        await setting.publisher.publish([A_RECORD])
    assert setting.publisher.reason == f"Kafka {words}"


async def test_a_record_that_is_refused_for_good_is_no_outage(setting: Setting) -> None:
    setting.fake.refuses = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    with pytest.raises(Unpublishable):
        await setting.publisher.publish([A_RECORD])
    assert setting.publisher.healthy


async def test_sizes_are_checked_before_anything_is_produced() -> None:
    setting = Setting()
    setting.publisher = Publisher(setting._opened, topics=TOPICS, stall_after=STALL, most_bytes=100_000)
    await setting.publisher.start()
    with pytest.raises(Unpublishable):
        await setting.publisher.publish([A_RECORD, replace(A_RECORD, value=bytes(100_000))])
    assert setting.fake.produced == []
    await setting.publisher.stop()


async def test_more_than_the_queue_holds_is_not_begun(setting: Setting) -> None:
    setting.fake.hangs = True
    setting.fake._queue = [lambda *_: None] * (QUEUE_MESSAGES // 2)
    with pytest.raises(Unacknowledged, match="full"):
        await setting.publisher.publish([A_RECORD])
    assert setting.fake.produced == []


async def test_a_pause_of_ours_is_not_a_delay_of_kafka() -> None:
    times = iter([0.0, 0.0, 0.0, 60.0, 60.0])
    publisher = Publisher(
        lambda _callbacks: FakeProducer(TOPICS), topics=TOPICS, stall_after=1, clock=lambda: next(times)
    )
    assert publisher._advance() == 0
    publisher._advance()
    assert publisher._advance() < 1


@pytest.mark.parametrize(
    "name",
    [
        "KAFKA_TRANSACTIONAL_ID",
        "KAFKA_DELIVERY_REPORT_ONLY_ERROR",
        "KAFKA_MESSAGE_MAX_BYTES",
        "KAFKA_STATISTICS_INTERVAL_MS",
    ],
)
def test_what_the_promise_stands_on_can_not_be_set(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        producer_config(read_settings({name: "1"}))


def test_a_message_timeout_below_the_answer_time_is_refused() -> None:
    with pytest.raises(SettingsError, match="KAFKA_MESSAGE_TIMEOUT_MS"):
        producer_config(read_settings({"KAFKA_MESSAGE_TIMEOUT_MS": "4000"}))
    assert producer_config(read_settings({"KAFKA_MESSAGE_TIMEOUT_MS": "4001"}))["message.timeout.ms"] == "4001"
    with pytest.raises(SettingsError, match="KAFKA_DELIVERY_TIMEOUT_MS must be above"):
        producer_config(read_settings({"KAFKA_DELIVERY_TIMEOUT_MS": "4000"}))


def test_acknowledgements_can_not_be_had_for_less_by_their_other_name() -> None:
    with pytest.raises(SettingsError, match="KAFKA_REQUEST_REQUIRED_ACKS: "):
        open_producers(producer_config(read_settings({"KAFKA_REQUEST_REQUIRED_ACKS": "1"})), 1, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_LINGER_MS", "abc"),
        ("KAFKA_QUEUE_BUFFERING_MAX_MS", "abc"),
        ("KAFKA_MESSAGE_TIMEOUT_MS", "abc"),
        ("KAFKA_DELIVERY_TIMEOUT_MS", "9" * 20),
        *((f"KAFKA_{name.upper().replace('.', '_')}", "") for name in ALIASES if name != "acks"),
    ],
)
def test_a_property_that_is_refused_is_told_by_the_name_it_was_set_by(name: str, value: str) -> None:
    settings = dataclasses.replace(read_settings({}), kafka={name[6:].lower().replace("_", "."): value})
    with pytest.raises(SettingsError, match=f"^{name}[ :]"):
        open_producers(producer_config(settings), 1, {})


def test_an_unknown_property_is_said_in_one_line() -> None:
    with pytest.raises(SettingsError, match=r"^KAFKA_NO_SUCH: No such configuration property: \"no.such\""):
        open_producers(producer_config(read_settings({"KAFKA_NO_SUCH": "1"})), 1, {})


def test_the_users_settings_win() -> None:
    config = producer_config(read_settings({"KAFKA_LINGER_MS": "20", "KAFKA_BOOTSTRAP_SERVERS": "b:1"}))
    assert (config["linger.ms"], config["bootstrap.servers"], config["acks"]) == ("20", "b:1", "all")


@pytest.mark.broker
async def test_the_real_producer_does_what_the_fake_does(kafka: Broker, prefix: str) -> None:
    settings = read_settings({"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PHONON_TOPIC_PREFIX": prefix})
    create_topics(settings)
    publisher = Publisher(
        partial(open_producers, producer_config(settings), settings.producers),
        topics=needed_topics(prefix),
        stall_after=3,
    )
    await publisher.start()
    assert await is_healthy(publisher)
    record = replace(A_RECORD, topic=f"{prefix}.flow.v1")
    await publisher.publish([record] * 8)
    with pytest.raises(Unpublishable):
        await publisher.publish([replace(record, value=bytes(20_000_000))])
    assert publisher.healthy
    await publisher.stop()


@pytest.mark.broker
async def test_missing_topics_are_seen_at_the_start(kafka: Broker, prefix: str) -> None:
    settings = read_settings({"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PHONON_TOPIC_PREFIX": prefix})
    publisher = Publisher(
        partial(open_producers, producer_config(settings), settings.producers),
        topics=needed_topics(prefix),
        stall_after=1,
    )
    await publisher.start()
    assert "is missing" in publisher.reason
    create_topics(settings)
    assert await is_healthy(publisher, within_seconds=5)
    await publisher.stop()
