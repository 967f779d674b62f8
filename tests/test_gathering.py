"""Groups and rankings on a real Kafka: what stands on their topics is what the DIDs' last records come to."""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import InvalidTimestampError, KafkaConnectionError, KafkaError

from app.demo.broker import Broker
from schemas import decode, encode, registry_header
from schemas.refusals import WRONG_TIME
from schemas.settings import Window, read_settings
from streams import changelog, gathering, live
from streams.changelog import Place
from streams.failures import CLOCK_PAUSE_SECONDS
from streams.framing import Framing
from streams.gathered import Together
from streams.gathering import Gathering
from streams.groups_file import GroupsFile
from streams.live import NO_SPAN, Live
from streams.table import GROUPS_KEY
from tests.fakes import FakeRegistry
from tests.flow_oracle import MINUTE, Record, flow
from tests.flow_traffic import FlowTopic, Workers
from tests.patience import eventually
from tests.processes import Processes
from tests.recount import of_rounded, ratios

FIRST = "did,group,campaign\n+91224360000?,low,\n+9122436*,all,\n+912243600007,,winback\n+912243600050,,winback\n"
SECOND = "did,group\n+9122436*,all\n+91224360009?,top\n"
BROKEN = SECOND + "912243600050,low\n"
MEMBERS: dict[str, Callable[[int], bool]] = {
    "group/low": lambda n: n < 10,
    "group/all": lambda n: True,
    "campaign/winback": lambda n: n in (7, 50),
    "group/top": lambda n: n >= 90,
}


def latest(topic: FlowTopic, record: str) -> dict[str, Record]:
    """The last record of each key, without deleted ones."""
    last = {message.key().decode(): message for message in topic.messages(record)}
    return {key: decode(message.value())[1] for key, message in last.items() if message.value() is not None}


def summed(name: str, dids: dict[str, Record]) -> Record:
    """A group's record from its DIDs', by the contract alone."""
    own = [record for did, record in dids.items() if MEMBERS[name](int(did[-5:]))]
    as_of = max(record["as_of"] for record in own)
    windows = []
    for number, window in enumerate(own[0]["windows"]):
        of_all = [record["windows"][number] for record in own]
        apart = re.compile(r"_p\d\d_ms$|^peak_legs$")
        added = [key for key, value in window.items() if isinstance(value, int) and not apart.search(key)]
        counts = {key: sum(one[key] for one in of_all) for key in added}
        times = {
            kind: [one["ms"] for each in of_all for one in each[f"{kind}_bins"] for _ in range(one["calls"])]
            for kind in ("talk", "ring", "time_to_agent")
        }
        end = as_of - as_of % MINUTE + MINUTE
        span = {"name": window["name"], "seconds": window["seconds"]}
        span |= {"start": end - window["seconds"] * 1000, "end": end}
        beside: Record = {"menu": menu(of_all), "peak_legs": None}
        legs_ms = sum(round(one["mean_legs"] * 1000 * window["seconds"]) for one in of_all)
        beside |= {"mean_legs": legs_ms / (1000 * window["seconds"])}
        windows.append(counts | span | ratios(counts) | of_rounded(times) | beside)
    longest = max(record["as_of"] - record["legs_settled_until"] for record in own)
    return {"did": name, "as_of": as_of, "windows": windows, "legs_settled_until": as_of - longest}


def menu(windows: list[Record]) -> list[Record]:
    """The places of all menus together."""
    places: dict[str, Record] = {}
    for node in (node for window in windows for node in window["menu"]):
        held = places.setdefault(node["path"], {"path": node["path"], "flows": 0, "left": 0})
        held["flows"] += node["flows"]
        held["left"] += node["left"]
    return sorted(places.values(), key=lambda node: (-node["flows"], node["path"]))[:100]


def wait_summed(topic: FlowTopic, *names: str) -> None:
    """Wait until these groups and no others have records, the sums of their DIDs' last ones."""

    def same() -> bool:
        dids = latest(topic, "DidMetrics")
        return latest(topic, "GroupMetrics") == {name: summed(name, dids) for name in names}

    eventually(same, 30)


def owner(workers: Workers) -> int:
    """The worker that adds up the groups, once there is one."""
    eventually(lambda: any(workers.figure(n, "phonon_groups") > 0 for n in workers.running), 30)
    return next(n for n in workers.running if workers.figure(n, "phonon_groups") > 0)


@pytest.fixture
def topic(kafka: Broker, prefix: str) -> FlowTopic:
    topic = FlowTopic(kafka.bootstrap_servers, prefix)
    topic.create()
    return topic


@pytest.mark.broker
@pytest.mark.slow
def test_groups_are_the_sums_of_their_dids_whoever_is_killed_and_however_the_mapping_changes(
    topic: FlowTopic, process: Processes, tmp_path: Path
) -> None:
    file = tmp_path / "groups.csv"
    file.write_text(FIRST, encoding="utf-8")
    rankings = "answer_seizure_ratio:1h:3:2,flows:24h:5"
    workers = Workers(process, topic, tmp_path, PHONON_GROUPS=str(file), PHONON_RANKINGS=rankings)
    workers.start(0)
    workers.start(1)
    topic.send(topic.flows(600))
    topic.flush()
    killed = owner(workers)
    eventually(lambda: bool(latest(topic, "GroupMetrics")), 30)
    workers.running.pop(killed).kill()
    topic.send(topic.flows(600))
    topic.flush()
    assert owner(workers) != killed
    workers.start(killed)
    workers.wait_idle()
    wait_summed(topic, "group/low", "group/all", "campaign/winback")
    assert topic.wrong() == []

    survivor = owner(workers)
    file.write_text(SECOND, encoding="utf-8")
    wait_summed(topic, "group/all", "group/top")
    file.write_text(BROKEN, encoding="utf-8")
    eventually(lambda: workers.figure(survivor, "phonon_groups_file_refused") == 1, 5)
    topic.send(topic.flows(100))
    topic.flush()
    workers.wait_idle()
    wait_summed(topic, "group/all", "group/top")
    line = f"PHONON_GROUPS: {file}, line 4, column 1: expected a DID in E.164"
    assert workers.running[survivor].output.count(line) == 1

    message = topic.messages("GroupMetrics")[-1]
    assert dict(message.headers())["ce_type"] == b"phonon.group-metrics.v1"
    eventually(lambda: latest(topic, "DidRanking").get("flows:24h", {}).get("best") == most_flows(topic), 15)
    ranking = latest(topic, "DidRanking")
    assert set(ranking) == {"flows:24h", "answer_seizure_ratio:1h"}
    assert (ranking["flows:24h"]["least"], len(ranking["flows:24h"]["worst"])) == (1, 5)


def most_flows(topic: FlowTopic) -> list[dict[str, Any]]:
    flows = [(-record["windows"][2]["flows"], did) for did, record in latest(topic, "DidMetrics").items()]
    return [{"did": did, "value": float(-number), "n": -number} for number, did in sorted(flows)[:5]]


RULES = """
[[rule]]
name = "nobody answers"
metric = "answer_seizure_ratio"
window = "5m"
below = 0.5
least = 2
for = "2m"
keep = "1m"
groups = "group/*"
"""


@pytest.mark.broker
@pytest.mark.slow
def test_a_group_rings_once_though_its_owner_is_killed_before_and_after(
    topic: FlowTopic, process: Processes, tmp_path: Path
) -> None:
    """A past, sent minute by minute: each flow carries the clock of its DID's partition on."""
    file, rules = tmp_path / "groups.toml", tmp_path / "rules.toml"
    file.write_text('[group.two]\ndids = ["+912243600001", "+912243600002"]\n', encoding="utf-8")
    rules.write_text(RULES, encoding="utf-8")
    workers = Workers(process, topic, tmp_path, PHONON_GROUPS=str(file), PHONON_ALERT_RULES=str(rules))
    workers.start(0)
    workers.start(1)
    begin = (time.time_ns() // 1_000_000 - 30 * MINUTE) // MINUTE * MINUTE

    def minute(number: int, *, answered: bool) -> None:
        at = begin + number * MINUTE + 1000
        leg = {"role": "VISITOR", "direction": "OUTBOUND", "answered": answered, "ring_ms": None, "cdr_id": "1",
               "disposition": "ANSWERED" if answered else "BUSY", "talk_ms": 20_000 if answered else None,
               "started_at": at, "ended_at": at}  # fmt: skip
        for did in ("+912243600001", "+912243600002"):
            record = flow(topic.rng, did, at) | {"legs": [leg], "reached": answered, "agent_reached": False}
            topic.put(did.encode(), encode("Flow", record))
        topic.flush()
        eventually(
            lambda: latest(topic, "GroupMetrics").get("group/two", {}).get("as_of", 0) // MINUTE >= at // MINUTE, 60
        )
        time.sleep(1.2)  # a round, so that each minute is looked at before the next

    def kill() -> None:
        number = owner(workers)
        workers.running.pop(number).kill()
        workers.start(number)

    minute(0, answered=False)
    minute(1, answered=False)
    kill()
    minute(2, answered=False)
    minute(4, answered=False)
    eventually(lambda: len(topic.messages("DidAlert")) == 1, 10)
    kill()
    minute(5, answered=False)
    minute(12, answered=True)
    minute(14, answered=True)
    eventually(lambda: len(topic.messages("DidAlert")) == 2, 10)
    kill()
    minute(15, answered=True)
    messages = topic.read("DidAlert")
    told = [(m.key(), r["did"], r["group"], r["state"], (r["since"] - begin) // MINUTE) for m, r in messages]
    assert told == [
        (b"group/two", None, "group/two", "FIRING", 1),
        (b"group/two", None, "group/two", "RESOLVED", 1),
    ]
    assert len({record["alert_id"] for _, record in messages}) == 1


class ToNowhere:
    """A writer, and a consumer, of a Kafka that refuses the time of what is written."""

    async def nothing(self, *_: object) -> list[Any]:
        return []

    open = close = places = start = stop = nothing

    async def write_keyed(self, _records: object) -> None:
        raise InvalidTimestampError


async def test_a_time_that_kafka_refuses_is_said_once_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine over an hour ahead: all DIDs' metrics were read anew and again, with two lines a second."""
    windows = (Window("5m", 300),)
    topics = gathering.Topics("m", "g", "r", "a")
    ports = gathering.Ports(windows, (), (), topics, GroupsFile(None), Framing(read_settings({})))
    made, waits = Gathering(Place("g", "log", "flow", 0, {}), ports), list[float]()

    async def last(*_: object) -> dict[bytes, Any]:
        return {b"a ranking that nobody asks for": SimpleNamespace(key=b"", value=b"1", timestamp=0)}

    async def sleep(seconds: float) -> None:
        if seconds:
            waits.append(seconds)
        if len(waits) == 3:
            made._stopping.set()

    monkeypatch.setattr(gathering, "Writer", lambda *_: ToNowhere())
    monkeypatch.setattr(gathering, "_consumer", lambda _: ToNowhere())
    monkeypatch.setattr(gathering, "_last", last)
    monkeypatch.setattr(changelog, "read", ToNowhere().nothing)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await made._live()
    assert waits == [CLOCK_PAUSE_SECONDS] * 3
    assert [line for line in caplog.messages if "live" not in line] == [
        f"groups: Kafka {WRONG_TIME}; all is read again if it is still ours"
    ]


class Deaf(ToNowhere):
    """A consumer that knows no broker that answers, or whose fetching has ended: it says nothing of either."""

    def __init__(self) -> None:
        self._fetcher = SimpleNamespace(error_future=asyncio.get_running_loop().create_future())

    async def getmany(self, **_: object) -> dict[Any, Any]:
        await asyncio.sleep(0.01)
        return {}

    async def topics(self) -> None:
        raise KafkaConnectionError


async def test_a_consumer_that_reaches_no_broker_is_not_listened_to_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups stood still where all brokers had moved and nothing was to be written."""
    monkeypatch.setattr(gathering, "QUIET_SECONDS", 0.2)
    ports = gathering.Ports((), (), (), gathering.Topics("m", "g", "r", "a"), GroupsFile(None), cast(Any, None))
    made = Gathering(Place("g", "log", "flow", 0, {}), ports)
    made._heard_at = time.monotonic()
    await made._follow(cast(Any, Deaf()), cast(Any, None), time.monotonic() + 0.1)
    with pytest.raises(KafkaConnectionError):
        await made._follow(cast(Any, Deaf()), cast(Any, None), time.monotonic() + 0.3)


async def test_a_consumer_that_fetches_no_more_is_not_listened_to_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups stood still, as Kafka could be reached."""
    monkeypatch.setattr(gathering, "QUIET_SECONDS", 0)
    ports = gathering.Ports((), (), (), gathering.Topics("m", "g", "r", "a"), GroupsFile(None), cast(Any, None))
    made, deaf = Gathering(Place("g", "log", "flow", 0, {}), ports), Deaf()
    monkeypatch.setattr(deaf, "topics", deaf.nothing)
    await made._follow(cast(Any, deaf), cast(Any, None), 0)
    deaf._fetcher.error_future.set_result(None)
    made._heard_at = 0.0
    with pytest.raises(KafkaError, match="aiokafka fetches no more"):
        await made._follow(cast(Any, deaf), cast(Any, None), 0)


async def test_that_a_schema_registry_is_away_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was said every two seconds."""
    windows, framing, registry = (Window("5m", 300),), Framing(read_settings({})), FakeRegistry({7: "DidMetrics"})
    framing._registry, framing.resolve = cast(Any, registry), registry.resolve
    monkeypatch.setattr("streams.framing.LOOK_UP_SECONDS", 0.001)
    ports = gathering.Ports(windows, (), (), gathering.Topics("m", "g", "r", "a"), GroupsFile(None), framing)
    made = Gathering(Place("g", "log", "flow", 0, {}), ports)
    written = Live("+912243692987", 60_000, (0,), (NO_SPAN,), 0)
    reading = asyncio.create_task(made._read(live.value(written, windows, registry_header(7))))
    await asyncio.sleep(0.1)
    assert caplog.messages == ["groups wait: the schema registry does not answer"]
    registry.away = False
    assert (await reading).did == written.did


def test_what_is_wrong_with_groups_and_rankings_is_one_line_and_exit_code_2(process: Processes, tmp_path: Path) -> None:
    file, rules = tmp_path / "groups.csv", tmp_path / "rules.toml"
    file.write_text("did,group\n912243600050,low\n", encoding="utf-8")
    rules.write_text(RULES, encoding="utf-8")
    wrong = (
        ({"PHONON_GROUPS": str(file)}, f"PHONON_GROUPS: {file}, line 2, column 1: expected a DID in E.164, as on the"),
        ({"PHONON_RANKINGS": "bussy:1h:3"}, "PHONON_RANKINGS: WindowMetrics has no 'bussy'\n"),
        ({"PHONON_ALERT_RULES": str(rules)}, f"PHONON_ALERT_RULES: {rules}: 'nobody answers' is about groups, and "),
    )
    children = [process("metrics", settings=settings) for settings, _ in wrong]
    eventually(lambda: all(child.returncode is not None for child in children), 30)
    for child, (_, line) in zip(children, wrong, strict=True):
        assert (child.returncode, child.output.count("\n")) == (2, 1)
        assert child.output.startswith(f"settings: {line}")


def test_a_group_is_written_when_it_changes_and_deleted_once_and_its_alerts_state_is_nobody_elses() -> None:
    windows = (Window("5m", 300),)
    topics = gathering.Topics("m", "g", "r", "a")
    ports = gathering.Ports(windows, (), (), topics, GroupsFile(None), Framing(read_settings({})))
    made = Gathering(Place("g", "log", "flow", 0, {}), ports)
    made._there = {"group/gone": b"as it stands"}
    group = Live("group/a", 29_000_000 * MINUTE, (0,), (NO_SPAN,), 0)
    together = Together(
        [("group/gone", None), ("group/never", None), ("group/a", group)],
        [],
        [("group/a", b"state"), ("group/b", None)],
    )
    first, again = ([record[:3] for record in made._records(together)] for _ in range(2))
    state = [("log", GROUPS_KEY + b"group/a", b"state"), ("log", GROUPS_KEY + b"group/b", None)]
    value = live.value(group, windows, ports.framing.headers["GroupMetrics"])
    assert first == [("g", b"group/gone", None), ("g", b"group/a", value), *state]
    assert again == state
