"""The page's server: what it keeps, what it sends to whom, and whom it lets in. No Kafka, no browser."""

import asyncio
import dataclasses
import json
import random
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from hypothesis import given
from hypothesis import strategies as st

from app.credentials import refuse_open_door
from app.dashboard import messages, scrape
from app.dashboard.alerts import MOST_FIRING, MOST_OVER, Alert, Alerts, read_alert
from app.dashboard.assets import FOLDER
from app.dashboard.figures import COUNTS, Latest, latest, meanings, shown
from app.dashboard.guard import address, page_credentials
from app.dashboard.rates import RATE_SECONDS, Receiver, summary, totals
from app.dashboard.server import Page, own_receiver
from app.dashboard.source import Batch, Key, Link, Source
from app.dashboard.state import MOST_POINTS, TREND, State
from app.dashboard.stream import MOST_STREAMS, PIECE_BYTES, TICKS_PER_SECOND, Streams
from app.demo.ports import free_port
from schemas import SCHEMAS, Undecodable, encode, registry_header
from schemas.settings import SettingsError, read_settings
from tests import alerts as made
from tests.dashboard_fake import FIGURES, lines
from tests.fakes import FakeRegistry

WINDOWS = (("5m", 300), ("1h", 3600))
OTHER = (("10m", 600), ("1h", 3600))


def record(did: str, calls: int, at: int = 1, windows: Any = WINDOWS) -> Latest:
    counts = tuple((calls * (w + 1), calls, 0, 0, 0, 0) for w in range(len(windows)))
    return Latest(did, did, at, at, windows, counts, b"")


def events(data: bytes) -> list[tuple[str, Any]]:
    """The events of a piece of a stream."""
    found = []
    for block in data.decode().split("\n\n"):
        lines_ = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines_:
            found.append((lines_["event"], json.loads(lines_["data"])))
    return found


# what a record becomes


def test_a_record_becomes_the_counts_of_each_window() -> None:
    line = lines(1)[0]
    one = latest(line.value(60_000), 61_000)
    assert (one.did, one.as_of, one.written_at) == ("+912240000000", 60_000, 61_000)
    assert one.windows == (("5m", 300), ("1h", 3600), ("24h", 86_400))
    assert one.counts == tuple(tuple(counts[name] for name in COUNTS) for counts in line.counts)


def test_the_page_reads_the_counts_in_the_order_in_which_they_travel() -> None:
    [names] = re.findall(r"COUNTS = (\[.*\])", (FOLDER / "figures.js").read_text())
    assert json.loads(names) == list(COUNTS)


def test_what_is_no_metrics_record_is_refused() -> None:
    rejected = {"flow_id": "1", "section": "s", "reason": "r", "payload": "p", "received_at": 0}
    fields = {f["name"]: f.get("default") for f in SCHEMAS["Rejected"]["fields"]} | rejected
    for value in (b"", b"nothing of ours", encode("Rejected", fields)):
        with pytest.raises(Undecodable):
            latest(value, 0)


def test_a_did_is_shown_as_people_read_it() -> None:
    assert [shown(did) for did in ("+912243692987", "unknown", "1800-CALL")] == [
        "+91 22 4369 2987",
        "unknown",
        "1800-CALL",
    ]


def test_every_figure_has_a_meaning() -> None:
    assert set(FIGURES) <= set(meanings())
    assert meanings()["answered"] == "Visitor legs answered, a count."


def test_a_dids_own_view_holds_its_menu_and_until_when_its_lines_are_settled() -> None:
    state, line, group = State(0), lines(1)[0], lines(1)[0]
    group.did = "group/sales"
    state.take(latest(one.value(600_000), 1) for one in (line, group))
    own, of_group = (json.loads(messages.one_did(state, row)) for row in state.rows.values())
    assert (own["legs_settled_until"], of_group["legs_settled_until"]) == (360_000, 360_000)
    head = {"did": line.did, "shown": "+91 22 4000 0000", "as_of": 600_000, "written_at": 1, "group": False}
    assert {name: own[name] for name in head} == head
    for window, of_groups in zip(own["windows"], of_group["windows"], strict=True):
        first = [place for place in window["menu"] if ">" not in place["path"]]
        assert sum(place["flows"] for place in first) == window["flows_with_key"] > 0
        assert sum(place["left"] for place in window["menu"]) == window["flows_dropped_off"]
        assert window["peak_legs"] >= window["mean_legs"] > 0
        assert of_groups == window | {"peak_legs": None}


# alerts


def alert(number: int, *, firing: bool = True, at: int = 9) -> Alert:
    return Alert(str(number), f"r{number}", "+91", "+91", "attempts", "5m", 1.0, 1, 2.0, firing, number, at)


def test_a_record_becomes_an_alert() -> None:
    did = read_alert(made.value(1))
    assert did._asdict() == {
        "id": made.fields(1)["alert_id"],
        "shown": "+91 22 4369 2987",
        "firing": True,
        **{name: value for name, value in made.fields(1).items() if name in Alert._fields},
    }
    group = read_alert(made.value(1, "RESOLVED", did=None, group="spring"))
    assert (group.did, group.shown, group.firing) == (None, "spring", False)
    for value in (None, b"nothing of ours", made.value(1, "UNKNOWN"), lines(1)[0].value(1)):
        with pytest.raises(Undecodable):
            read_alert(value)


def test_an_episode_keeps_the_figures_that_it_began_with() -> None:
    alerts = Alerts()
    alerts.take([alert(1), alert(2)], 1)
    alerts.take([alert(1, firing=False, at=20)._replace(value=None)], 2)
    alerts.take([alert(3, firing=False, at=30)], 3)
    assert list(alerts.firing) == ["2"]
    assert {id_: (one.alert.value, one.until) for id_, one in alerts.over.items()} == {"1": (1.0, 20), "3": (1.0, 30)}
    alerts.take([alert(1), alert(1, firing=False), alert(2), alert(3)], 4)
    assert (list(alerts.firing), list(alerts.over)) == (["2"], ["1", "3"]), "what is read again changes nothing"
    assert alerts.changes(3) == []


@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=4), max_size=12), st.data())
def test_whoever_asks_for_alerts_now_and_then_has_them_all(batches: list[list[tuple[int, bool]]], data: Any) -> None:
    state, known, seen = State(0), dict[str, int | None](), 0
    for batch in batches:
        state.take([], alerts=[alert(number, firing=firing) for number, firing in batch])
        if data.draw(st.booleans()):
            known |= {one.alert.id: one.until for one in state.alerts.changes(seen)}
            seen = state.revision
    known |= {one.alert.id: one.until for one in state.alerts.changes(seen)}
    assert known == {one.alert.id: one.until for one in state.alerts.changes()}
    over = {str(number) for batch in batches for number, firing in batch if not firing}
    assert {id_ for id_, until in known.items() if until is not None} == over


def test_an_alert_that_nobody_ended_is_over_where_the_next_of_its_rule_begins() -> None:
    """Where the workers' state was deleted it rings again, under another id; the first one stood there for 90 days."""
    first, second, other = (alert(number)._replace(rule="r") for number in (1, 2, 3))
    other = other._replace(did=None, shown="spring")
    alerts = Alerts()
    alerts.take([first, other, second], 1)
    assert (list(alerts.firing), alerts.over["1"].until) == (["3", "2"], second.since)
    for _ in range(2):
        alerts.over.clear()
        alerts.take([first], 2)
        assert (list(alerts.firing), alerts.over["1"].until) == (["3", "2"], second.since), "read again, it stays over"
    alerts.take([second._replace(firing=False, as_of=20)], 3)
    assert (list(alerts.firing), alerts.over["2"].until) == (["3"], 20)
    alerts.take([alert(4)._replace(rule="r")], 4)
    assert list(alerts.firing) == ["3", "4"]


def test_alerts_are_bounded_and_the_newest_stay() -> None:
    alerts = Alerts()
    alerts.take((alert(n, firing=False, at=n) for n in range(3 * MOST_OVER)), 1)
    alerts.take((alert(10_000 + n) for n in range(MOST_FIRING + 7)), 2)
    assert MOST_OVER <= len(alerts.over) <= 2 * MOST_OVER
    assert {str(n) for n in range(2 * MOST_OVER, 3 * MOST_OVER)} <= alerts.over.keys()
    assert list(alerts.firing)[0 :: MOST_FIRING - 1] == ["10007", str(10_006 + MOST_FIRING)]
    alerts.take((alert(10_000 + n, firing=False, at=n) for n in range(MOST_FIRING + 7)), 3)
    assert (len(alerts.firing), len(alerts._fires)) == (0, 0)


async def test_a_page_gets_alerts_as_they_begin_and_end() -> None:
    state = State(0)
    state.take([record("a", 1)], alerts=[alert(1)])
    streams = streams_of(state)
    (kind, content), *_ = events(streams.since(None, streams._now()))
    assert (kind, [one["id"] for one in content.pop("alerts")]) == ("snapshot", ["1"])
    assert content == {
        "started_at": 0,
        "sample_ms": 10_000,
        "points": TREND,
        "alerts_kept": MOST_OVER,
        "windows": [list(window) for window in WINDOWS],
        "counts": list(COUNTS),
        "rows": [["a", "a", 1, False, [1, 1, 0, 0, 0, 0], [2, 1, 0, 0, 0, 0], []]],
    }
    before = streams._now()
    state.take([], alerts=[alert(1, firing=False, at=20), alert(2)])
    [(kind, told)] = events(streams.since(before, streams._now()))
    assert (kind, {one["id"]: one["until"] for one in told}) == ("alerts", {"1": 20, "2": None})


# the state


def test_the_last_record_of_a_did_holds() -> None:
    state = State(0)
    state.take([record("a", 1), record("b", 1)])
    state.take([record("a", 2, at=5)])
    assert {did: row.latest.counts[0][0] for did, row in state.rows.items()} == {"a": 2, "b": 1}
    assert (state.written_at, state.as_of) == (5, 5)


@given(st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9)), max_size=4), max_size=12), st.data())
def test_whoever_asks_for_changes_now_and_then_has_it_all(batches: list[list[tuple[str, int]]], data: Any) -> None:
    state, known, seen = State(0), dict[str, int](), 0
    for batch in batches:
        state.take([record(did, calls) for did, calls in batch])
        if data.draw(st.booleans()):
            changed = state.changes(seen)
            assert len({row.latest.did for row in changed}) == len(changed), "each DID once"
            known |= {row.latest.did: row.latest.counts[0][0] for row in changed}
            seen = state.revision
    known |= {row.latest.did: row.latest.counts[0][0] for row in state.changes(seen)}
    assert known == {did: row.latest.counts[0][0] for did, row in state.rows.items()}


def test_other_windows_or_a_did_that_is_gone_are_a_new_epoch() -> None:
    state = State(0)
    state.take([record("a", 3)])
    state.sample()
    epoch = state.epoch
    state.take([record("b", 4, at=2, windows=OTHER)])
    assert (state.windows, state.epoch) == (OTHER, epoch + 1)
    assert state.rows["a"].counts(OTHER) == [None, (6, 3, 0, 0, 0, 0)], "what has the window is shown"
    assert len(state.rows["a"].trend) == 0
    state.sample()
    assert list(state.rows["a"].trend) == [-1], "the first window is not known of it"
    assert state.history(state.rows["a"])["times"] == [10_000], "what it was before stands in other windows"
    state.take([record("a", 5, at=1)])
    assert state.windows == OTHER, "an older record does not bring the old windows back"
    state.take([], gone=["a", "never there"])
    assert (list(state.rows), state.epoch) == (["b"], epoch + 2)


@given(st.integers(0, 3 * MOST_POINTS), st.integers(1, 3 * MOST_POINTS))
def test_the_history_covers_all_since_the_start_and_stays_bounded(before: int, after: int) -> None:
    state = State(1_000)
    state.take([record("old", 0)])
    for n in range(before + after):
        if n == before:
            state.take([record("new", 0)])
        state.take([record(did, n) for did in state.rows])
        state.sample()
    for did, since in (("old", 0), ("new", before)):
        history = state.history(state.rows[did])
        samples = [(time - 1_000) // 10_000 for time in history["times"]]
        assert history["windows"][0]["attempts"] == samples, "each point holds what was at its time"
        assert history["windows"][1]["attempts"] == [2 * n for n in samples]
        assert samples == [n for n in range(before + after) if n >= since and n % state.stride == 0]
        assert len(samples) <= MOST_POINTS
        newest = list(range(since, before + after))[-TREND:]
        assert list(state.rows[did].trend) == newest


# the streams


class Reader:
    """One open page."""

    def __init__(self, streams: Streams) -> None:
        self.stream: AsyncIterator[bytes] = streams.stream()
        self.rows: dict[str, int] = {}
        self.kinds: list[str] = []

    async def read(self) -> list[str]:
        """The kinds of events of the next piece, applied to what this page knows."""
        found = events(await asyncio.wait_for(anext(self.stream), 5))
        for kind, content in found:
            if kind == "snapshot":
                self.rows = {did: counts[0] for did, _, _, _, counts, *_ in content["rows"]}
            elif kind == "changes":
                self.rows |= {did: counts[0] for did, _, _, _, counts, *_ in content}
        return [kind for kind, _ in found if kind != "status"]


def streams_of(state: State) -> Streams:
    return Streams(state, lambda: {"now": 0})


async def test_a_page_gets_a_snapshot_then_what_changed_once() -> None:
    state = State(0)
    state.take([record("a", 1), record("b", 2)])
    page = Reader(streams_of(state))
    assert await page.read() == []  # how soon to come again
    assert await page.read() == ["snapshot"]
    for calls in range(50):
        state.take([record("a", calls)])
    assert await page.read() == ["changes"]
    assert page.rows == {"a": 49, "b": 2}


async def test_a_page_that_does_not_read_costs_nothing_and_gets_each_did_once() -> None:
    state = State(0)
    state.take([record(str(n), 0) for n in range(100)])
    streams = streams_of(state)
    slow, chance = Reader(streams), random.Random(1)
    assert [await slow.read(), await slow.read()] == [[], ["snapshot"]]
    for _ in range(5_000):
        state.take([record(str(chance.randrange(100)), chance.randrange(1000))])
    piece = await anext(slow.stream)
    [(kind, rows), *_] = events(piece)
    assert (kind, len(rows)) == ("changes", 100)
    assert {did: counts[0] for did, _, _, _, counts, *_ in rows} == {
        d: r.latest.counts[0][0] for d, r in state.rows.items()
    }
    for _ in range(3):
        state.sample()
    assert await slow.read() == ["snapshot"], "who has missed samples begins anew"


async def test_a_page_is_sent_something_at_most_so_many_times_a_second() -> None:
    state = State(0)
    page = Reader(streams_of(state))
    await page.read()
    began = time.monotonic()
    for calls in range(TICKS_PER_SECOND + 1):
        state.take([record("a", calls)])
        await page.read()
    assert time.monotonic() - began > (TICKS_PER_SECOND - 1) / TICKS_PER_SECOND


async def test_pages_that_keep_up_share_the_bytes_and_a_sample_follows_what_changed() -> None:
    state = State(0)
    state.take([record("a", 1)])
    for _ in range(5):
        state.sample()  # how long the server has run makes no difference
    streams = streams_of(state)
    pages = [Reader(streams), Reader(streams)]
    for page in pages:
        await page.read()
        await page.read()
    before = (streams._now(),)
    state.take([record("a", 2)])
    state.sample()
    first, second = (streams.since(before[0], streams._now()) for _ in range(2))
    assert first is second
    assert [kind for kind, _ in events(first)] == ["changes", "sample"]
    assert [await page.read() for page in pages] == [["changes", "sample"]] * 2


async def test_pages_that_come_at_the_same_moment_share_the_bytes() -> None:
    """All of them do when the server was started again, and each would take seconds with many DIDs."""
    state = State(0)
    state.take([record("a", 1)])
    streams = streams_of(state)
    now = streams._now()
    new = streams.since(None, now)
    assert streams.since(None, now) is new
    state.take([record("b", 1)], gone=["a"])
    later = streams._now()
    assert streams.since(None, later) is not new
    assert streams.since(None, later) is streams.since(now, later), "who begins anew gets what is made for a new page"
    assert [kind for kind, _ in events(new)] == ["snapshot"]


async def test_a_page_that_does_not_read_is_held_a_piece_for() -> None:
    state = State(0)
    state.take([record(f"{n:0200}", n) for n in range(1_000)])
    streams = streams_of(state)
    page = streams.stream()
    assert await anext(page) == messages.RETRY + messages.HEARTBEAT
    sent = [await anext(page)]
    while len(sent[-1]) == PIECE_BYTES:
        sent.append(await anext(page))
    assert len(sent) > 3
    assert b"".join(sent) == messages.snapshot(state) + messages.event("status", {"now": 0})


async def test_a_page_that_goes_makes_room() -> None:
    streams = streams_of(State(0))
    page = streams.stream()
    await anext(page)
    assert streams.open == 1
    await page.aclose()  # type: ignore[attr-defined]
    assert streams.open == 0


async def test_streams_end_when_the_server_stops() -> None:
    streams = streams_of(State(0))
    streams.stopping = True
    assert len([piece async for piece in streams.stream()]) == 1


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    assert messages.event("x", {"a": "1\n2"}) == b'event: x\ndata: {"a":"1\\n2"}\n\n'


# the receivers


PAGE = """# HELP phonon_deliveries_total Deliveries
phonon_deliveries_total{status="200"} 40.0
phonon_deliveries_total{status="202"} 2.0
phonon_events_total{topic="phonon.flow.v1"} 300.0
phonon_spooled_total 9.0
phonon_spool_rows 3.0
"""


def test_what_a_receiver_says_is_added_up_over_labels() -> None:
    assert totals(PAGE) == {"deliveries": 42, "events": 300, "spooled": 3}


def test_rates_are_over_the_last_seconds_and_survive_a_restart() -> None:
    receiver = Receiver()
    for second, count in enumerate((100, 110, 120, 5, 15)):
        receiver.add(1000 + second * 2.0, f"phonon_deliveries_total {count}\n")
    assert receiver.rate("deliveries") == (10 + 10 + 5 + 10) / 8
    for second in range(20):
        receiver.add(1010 + second, "phonon_deliveries_total 15\n")
    assert receiver.rate("deliveries") == 0
    assert len(receiver.looks) <= RATE_SECONDS + 2
    for minute, count in enumerate((0, 600, 600), start=20):
        receiver.add(60 * minute, f"phonon_deliveries_total {count}\n")
    assert receiver.rate("deliveries") == 0, "two looks are enough, however far apart"


def test_a_receiver_that_does_not_answer_makes_the_sum_unknown() -> None:
    one, other = Receiver(), Receiver()
    one.add(0, PAGE)
    other.add(0, PAGE)
    assert summary([one, other])["deliveries"] == 84
    for receiver, refused in ((one, 4), (other, 20)):
        receiver.add(2, PAGE + f'phonon_deliveries_total{{status="400"}} {refused}\n')
    assert summary([one, other])["deliveries_per_second"] == 12
    other.add(4, None)
    assert summary([one, other]) == {
        "asked": 2,
        "answering": 1,
        "deliveries": None,
        "events": None,
        "spooled": None,
        "deliveries_per_second": None,
        "events_per_second": None,
    }


async def test_a_receiver_that_hangs_is_unknown_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that takes a minute to be looked up: no time-out of a socket ends that."""
    hangs = threading.Event()

    def page(url: str) -> str:
        if url == "b" and two.looks:
            hangs.wait(10)
        return PAGE

    monkeypatch.setattr(scrape, "page", page)
    monkeypatch.setattr(scrape, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(scrape, "ANSWER_SECONDS", 0.1)
    one, two = Receiver(), Receiver()
    began, watching = time.monotonic(), asyncio.create_task(scrape.watch(["a", "b"], [one, two]))
    await asyncio.sleep(0.5)
    known, before = len(one.looks), summary([one, two])
    assert known <= (time.monotonic() - began) / 0.02 + 1, "and asked no more often than it should be"
    hangs.set()
    await asyncio.sleep(0.2)
    watching.cancel()
    assert (known > 5, before["answering"]) == (True, 1)
    assert summary([one, two])["answering"] == 2


def test_a_receivers_page_is_read_whole_and_no_other_answer_is_one() -> None:
    class Metrics(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(PAGE.encode())

    with HTTPServer(("127.0.0.1", 0), Metrics) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        told = [scrape.page(url + path) for path in ("", "/metrics", "/healthz")]
        server.shutdown()
    assert told == [PAGE, PAGE, None]
    assert scrape.page(url) is None, "nobody listens there any more"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/métrics", "http://receiver..internal:9100/metrics"])
def test_a_receiver_that_can_not_be_asked_does_not_answer(url: str) -> None:
    """An error ended, without a word, the task that asks all of them."""
    assert scrape.page(url) is None


def test_without_an_address_the_receiver_of_the_same_settings_is_asked() -> None:
    settings = read_settings({"PHONON_MANAGEMENT_HOST": "0.0.0.0", "PHONON_MANAGEMENT_PORT": "9123"})
    assert own_receiver(settings) == "http://127.0.0.1:9123/metrics"


# who may look

Ask = Callable[..., Any]
BASIC = {"PHONON_DASHBOARD_BASIC_AUTH": "lead:secret"}
SENDERS = {"PHONON_BASIC_AUTH": "phonon:push"}
TOKEN = {"PHONON_TOKEN": "t0ken"}
NARROW = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the path may hold the token
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


async def get(environ: dict[str, str], path: str = "/", host: str = "127.0.0.1", **how: Any) -> httpx.Response:
    """A page of these settings asked once, without its lifespan."""
    transport = httpx.ASGITransport(Page(read_settings(environ)).app, client=(how.pop("peer", "127.0.0.1"), 1))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}:8090") as client:
        return await client.get(path, **how)


async def test_on_loopback_the_page_is_open_and_nothing_of_it_comes_from_elsewhere() -> None:
    reply = await get({})
    assert reply.status_code == 200
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in reply.text.replace("https://", "http")
    assert [(await get({}, f"/static/{name}")).status_code for name in ("app.js", "style.css", "favicon.svg")] == [
        200
    ] * 3
    assert (await get({}, "/static/nothing.js")).status_code == 404
    assert (await get({}, "/dids/%2B91")).status_code == 404


async def test_under_a_foreign_name_or_from_elsewhere_it_is_not() -> None:
    assert (await get({}, host="evil.example")).status_code == 404
    assert [(await get({}, host=name)).status_code for name in ("LocalHost", "[::1]", "[::2]")] == [200, 200, 404]
    assert (await get({}, peer="203.0.113.9")).status_code == 401
    assert (await get({"PHONON_ALLOW_ANONYMOUS": "true"}, host="board", peer="203.0.113.9")).status_code == 200


@pytest.mark.parametrize(
    ("environ", "path", "how", "status"),
    [
        (BASIC, "/", {}, 401),
        (BASIC, "/events", {}, 401),
        (BASIC, "/static/app.js", {"auth": ("lead", "wrong")}, 401),
        (BASIC, "/", {"auth": ("lead", "secret")}, 200),
        (BASIC | SENDERS, "/", {"auth": ("phonon", "push")}, 401),
        (BASIC | TOKEN, "/", {"auth": ("lead", "secret")}, 200),
        (SENDERS, "/", {"auth": ("phonon", "push")}, 200),
        (TOKEN, "/", {}, 401),
        (TOKEN, "/wrong/", {}, 401),
        (TOKEN, "/t0ken/", {}, 200),
        (TOKEN, "/t0ken/", {"auth": ("some", "proxy")}, 200),
        (TOKEN, "/t0ken/static/app.js", {}, 200),
        (TOKEN, "/", {"headers": {"authorization": "Bearer t0ken"}}, 200),
        (TOKEN, "/static/app.js", {"headers": {"authorization": "Bearer t0ken"}}, 200),
        (SENDERS | TOKEN, "/t0ken/", {}, 401),
        (SENDERS | TOKEN, "/t0ken/", {"auth": ("phonon", "push")}, 200),
        (BASIC, "/healthz", {}, 200),
        (TOKEN, "/readyz", {}, 503),
    ],
)
async def test_what_is_configured_must_pass(environ: dict[str, str], path: str, how: Any, status: int) -> None:
    reply = await get(environ, path, host="board.example", peer="203.0.113.9", **how)
    assert reply.status_code == status
    assert {name: reply.headers[name] for name in NARROW} == NARROW
    assert ("www-authenticate" in reply.headers) == (status == 401)


async def test_a_token_without_its_slash_is_sent_on() -> None:
    reply = await get(TOKEN, "/t0ken")
    assert (reply.status_code, reply.headers["location"]) == (307, "t0ken/")


def test_it_does_not_start_open_on_a_public_address() -> None:
    keys = {"setting": "PHONON_DASHBOARD_HOST", "keys": "PHONON_DASHBOARD_BASIC_AUTH"}
    nothing = page_credentials(read_settings({"PHONON_ALLOWED_IPS": "10.0.0.0/8"}))
    with pytest.raises(SettingsError, match=r"PHONON_DASHBOARD_HOST is '0.0.0.0'.*set PHONON_DASHBOARD_BASIC_AUTH"):
        refuse_open_door(nothing, "0.0.0.0", **keys)
    for environ in (BASIC, SENDERS, TOKEN, {"PHONON_ALLOW_ANONYMOUS": "true"}):
        refuse_open_door(page_credentials(read_settings(environ)), "0.0.0.0", **keys)


def test_the_address_names_the_token_and_does_not_show_it() -> None:
    assert address(read_settings(TOKEN), 8090) == "http://127.0.0.1:8090/<PHONON_TOKEN>/"
    assert address(dataclasses.replace(read_settings({}), dashboard_host="::1"), 1) == "http://[::1]:1/"


# Kafka away


def test_a_kafka_that_is_not_there_is_said_within_seconds() -> None:
    said: list[Link] = []
    settings = read_settings({"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"})
    source = Source(settings, None, deliver=lambda batch: None, say=said.append)
    source.start()
    deadline = time.monotonic() + 10
    while not said and time.monotonic() < deadline:
        time.sleep(0.05)
    source.stop()
    assert [(link.state, link.loaded) for link in said] == [("away", False)]
    assert "refused" in said[0].reason


METRICS = "phonon.did-metrics.v1"


def sent(value: bytes | None) -> Message:
    """A message as librdkafka gives it."""
    return Message(METRICS, value=value, timestamp=(1, 61_000))


class Deaf:
    """A consumer of the metrics topic, whose one partition holds these records; so many questions are answered."""

    def __init__(self, answers: int, values: list[bytes]) -> None:
        self.answers, self.closed = answers, False
        self.messages = [Message(METRICS, partition=0, error=KafkaError(KafkaError._PARTITION_EOF))]
        self.messages += map(sent, reversed(values))

    def list_topics(self, topic: str, *, timeout: float) -> Any:
        self.answers -= 1
        if self.answers < 0:
            time.sleep(0.01)
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return SimpleNamespace(
            topics={topic: SimpleNamespace(error=None, topic=topic, partitions=[0] if topic == METRICS else [])}
        )

    def assign(self, _places: object) -> None: ...
    def poll(self, _seconds: float) -> None: ...

    def consume(self, _number: int, _seconds: float) -> list[Message]:
        return [self.messages.pop()] if self.messages else []

    def close(self) -> None:
        self.closed = True


def test_a_consumer_that_nobody_answers_for_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka forgot all brokers when metadata named none, and never connected again (its issue 5301).

    The new one reads the topic from its beginning: what the page has must not go back meanwhile.
    """
    monkeypatch.setattr("app.dashboard.source.PROBE_SECONDS", 0)
    monkeypatch.setattr("app.dashboard.source.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("app.cluster.REPLACED_AFTER_SECONDS", 0.2)
    old, new = (line.value(60_000) for line in lines(2))
    made_ones = [Deaf(5 * 3, [old, new]), Deaf(10**9, [old, new])]
    consumers = iter(made_ones)
    monkeypatch.setattr("app.dashboard.source.connect", lambda *_, **__: next(consumers))
    batches, said = list[Batch](), list[Link]()
    source = Source(read_settings({}), None, deliver=batches.append, say=said.append)
    source.start()
    deadline = time.monotonic() + 10
    while len(batches) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    source.stop()
    assert [one.closed for one in made_ones] == [True, True]
    assert batches == [Batch([latest(new, 61_000)], [], [])] * 2
    assert [link.state for link in said if link.loaded] == ["connected", "away", "connected"]


class NoTopic(Deaf):
    """A consumer of a Kafka that has no such topic yet."""

    def list_topics(self, topic: str, *, timeout: float) -> Any:
        super().list_topics(topic, timeout=timeout)
        return SimpleNamespace(topics={topic: SimpleNamespace(error=KafkaError(3), topic=topic, partitions=[])})


def test_a_missing_topic_is_said_and_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.dashboard.source.RETRY_SECONDS", 0.01)
    consumers = iter([NoTopic(3, []), Deaf(10**9, [])])
    monkeypatch.setattr("app.dashboard.source.connect", lambda *_, **__: next(consumers))
    said = list[Link]()
    source = Source(read_settings({}), None, deliver=lambda batch: None, say=said.append)
    source.start()
    deadline = time.monotonic() + 10
    while not (said and said[-1].loaded) and time.monotonic() < deadline:
        time.sleep(0.01)
    source.stop()
    assert [(link.state, link.reason, link.loaded) for link in said] == [
        ("no_topic", f"there is no topic {METRICS}", False),
        ("connected", "", False),
        ("connected", "", True),
    ]


def test_a_did_whose_record_was_deleted_is_gone() -> None:
    batches = list[Batch]()
    source = Source(read_settings({}), None, deliver=batches.append, say=lambda link: None)
    source._flush({b"+912243692987": sent(None), b"group/\xff": sent(None)})
    assert batches == [Batch([], ["+912243692987", "group/\ufffd"], [])]


# a schema registry


def test_records_wait_for_the_registry_and_need_it_once() -> None:
    line = lines(1)[0]
    framed = registry_header(7) + line.value(60_000)[10:]
    register, batches, said = FakeRegistry({7: "DidMetrics", 8: "DidAlert"}), list[Batch](), list[Link]()
    source = Source(read_settings({}), cast(Any, register), deliver=batches.append, say=said.append)
    waiting: dict[Key, Message] = {b"key": sent(framed)}
    source._flush(waiting)
    assert (list(waiting), batches, said[-1].registry) == ([b"key"], [], "the schema registry does not answer")
    register.away = False
    source._flush(waiting)
    assert (waiting, said[-1].registry) == ({}, "")
    kept = Batch([latest(line.value(60_000), 61_000)], [], [])
    assert batches == [kept], "kept as if it had come in the other framing"


def test_an_error_of_ours_is_shown_and_the_topics_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended the thread: the page said "connected" for ever, and that it was ready."""
    said, tries = list[Link](), list[Source]()
    source = Source(read_settings({}), None, deliver=lambda batch: None, say=said.append)

    def follow(self: Source) -> None:
        tries.append(self)
        raise ValueError("a bug")

    monkeypatch.setattr(Source, "_follow", follow)
    monkeypatch.setattr("app.dashboard.source.RETRY_SECONDS", 0.01)
    source.start()
    while len(tries) < 2 and source._thread.is_alive():
        time.sleep(0.01)
    source.stop()
    assert len(tries) > 1
    assert (said[0].state, said[0].reason) == ("away", "our code fails (ValueError)")


def test_each_record_of_alerts_counts_and_is_no_metrics() -> None:
    register, batches = FakeRegistry({7: "DidMetrics", 8: "DidAlert"}), list[Batch]()
    register.away = False
    source = Source(read_settings({}), cast(Any, register), deliver=batches.append, say=lambda link: None)
    framed = registry_header(8) + made.value(1, "RESOLVED")[10:]
    read: dict[Key, Message] = {(0, 4): sent(made.value(1)), (0, 5): sent(framed), (0, 6): sent(b"no alert")}
    source._flush(read)
    told = [one for batch in batches for one in batch.alerts]
    assert (read, told) == ({}, [read_alert(made.value(1)), read_alert(made.value(1, "RESOLVED"))])
    assert source._link.unreadable == 1


async def asked(page: Page, path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(page.app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8090") as client:
        return await client.get(path, headers=headers)


@pytest.mark.parametrize(
    ("loaded", "state", "status"), [(True, "connected", 200), (False, "connected", 503), (True, "away", 503)]
)
async def test_the_page_is_ready_while_it_shows_what_the_topic_holds(loaded: bool, state: str, status: int) -> None:
    page = Page(read_settings({}))
    page.link = Link(loaded=loaded, state=state)
    reply = await asked(page, "/readyz")
    assert (reply.status_code, reply.json()) == (status, {"ready": status == 200, "kafka": state})


async def test_one_page_too_many_is_told_to_come_again() -> None:
    page = Page(read_settings({}))
    page.streams.open = MOST_STREAMS
    reply = await asked(page, "/events")
    assert (reply.status_code, reply.headers["retry-after"], reply.text) == (503, "5", "too many pages are open")


async def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    page = Page(read_settings({}))
    first = await asked(page, "/static/app.js")
    again = await asked(page, "/static/app.js", **{"if-none-match": first.headers["etag"]})
    other = await asked(page, "/static/style.css", **{"if-none-match": first.headers["etag"]})
    assert [(reply.status_code, bool(reply.content)) for reply in (first, again, other)] == [
        (200, True), (304, False), (200, True),
    ]  # fmt: skip


async def test_who_asks_for_the_head_of_the_stream_opens_none() -> None:
    """It stayed open for ever: after 200 of them nobody could open a page."""
    page = Page(read_settings({}))
    transport = httpx.ASGITransport(page.app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8090") as client:
        reply = await asyncio.wait_for(client.head("events"), 5)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert page.streams.open == 0
