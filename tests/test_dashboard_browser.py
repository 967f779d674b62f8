"""The page in a real Chromium: what it shows is what the topic holds, by mouse and by keyboard, light and dark.

Where a broker is required (BROKER_TESTS=required, as CI sets), so is the browser. DASHBOARD_PICTURES=docs
keeps pictures.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app.demo.broker import Broker
from app.demo.child import Child
from app.demo.ports import free_port
from app.topics import create_topics
from schemas import decode
from schemas.settings import read_settings
from schemas.topics import topic_name
from tests import alerts as made
from tests.dashboard_fake import FIGURES, Line, lines
from tests.patience import eventually
from tests.processes import Processes

pytestmark = pytest.mark.broker

SWITCHES: Final = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
PHONE: Final = {"width": 390, "height": 844}
SIZE: Final = {"width": 1440, "height": 900}
FEW_DIDS: Final = 60
PATIENCE_MS: Final = 15_000
TWO_FRAMES: Final = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
CONTRAST: Final = (Path(__file__).parent / "contrast.js").read_text()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests here."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        leave = pytest.fail if os.environ.get("BROKER_TESTS") == "required" else pytest.skip
        leave("no Chromium (Debian's package: chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        yield browser
        browser.close()


@dataclass
class Board:
    """A page that is served from a topic of its own, and the figures that stand on the topic."""

    url: str
    topic: str
    producer: Producer
    lines: list[Line]
    server: Child
    settings: dict[str, str]

    def write(self, *some: Line) -> None:
        """Put the figures of these DIDs on the topic as they are now."""
        for line in some:
            self.producer.produce(self.topic, key=line.did, value=line.value(round(time.time() * 1000)))
        assert self.producer.flush(10) == 0

    def tell(self, *alerts: tuple[int, dict[str, Any]]) -> None:
        """Put alerts on their topic."""
        topic = topic_name(self.settings["PHONON_TOPIC_PREFIX"], "DidAlert")
        for number, what in alerts:
            self.producer.produce(topic, key=what.get("did") or what.get("group"), value=made.value(number, **what))
        assert self.producer.flush(10) == 0

    def figures(self, line: Line) -> list[dict[str, Any]]:
        """What the topic holds of a DID, window by window."""
        windows: list[dict[str, Any]] = decode(line.value(0))[1]["windows"]
        return windows


@pytest.fixture
def board(kafka: Broker, prefix: str, process: Processes) -> Board:
    port = free_port()
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "PHONON_TOPIC_PREFIX": prefix,
        "PHONON_TOPIC_PARTITIONS": "3",
        "PHONON_DASHBOARD_PORT": str(port),
        "PHONON_RECEIVER_METRICS_URL": f"http://127.0.0.1:{free_port()}/metrics",
    }
    create_topics(read_settings(settings))
    return Board(
        url=f"http://127.0.0.1:{port}/",
        topic=topic_name(prefix, "DidMetrics"),
        producer=Producer(
            {"bootstrap.servers": kafka.bootstrap_servers, "partitioner": "murmur2_random", "log_level": 0}
        ),
        lines=lines(FEW_DIDS),
        settings=settings,
        server=process("dashboard", settings=settings, ready=f"http://127.0.0.1:{port}/readyz"),
    )


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages; at the end none of them may have complained, nor asked anyone but its own server."""
    contexts, complaints = [], list[str]()

    def open_(url: str, **how: Any) -> Page:
        context = chromium.new_context(viewport=how.pop("viewport", SIZE), locale="en-US", **how)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        origin = url.split("#")[0]
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if "Content Security" in line.text else None)
        page.on("request", lambda asked: None if asked.url.startswith(origin) else complaints.append(asked.url))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def percent(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio * 100:.1f} %"


def minutes(ms: float | None) -> str:
    return "–" if ms is None else f"{int(ms / 1000 + 0.5) // 60}:{int(ms / 1000 + 0.5) % 60:02}"


def close(shown: str, expected: str) -> bool:
    """Whether two texts are the same but for how a half is rounded."""
    if shown == expected:
        return True
    numbers = [float(text.replace(" %", "").replace(",", "").replace(":", ".")) for text in (shown, expected)]
    return abs(numbers[0] - numbers[1]) < 0.11


def cells(page: Page, line: Line) -> list[str]:
    """The figures of a DID's row: calls, answer rate, duration, abandonment, service level."""
    row = page.locator(f'tr[data-did="{line.did}"]')
    return [row.locator(f"td.{key} .v").inner_text() for key in ("calls", "answer", "talk", "abandon", "service")]


def dids(page: Page) -> list[str]:
    """The DIDs in view, in their order."""
    found: list[str] = page.eval_on_selector_all("tbody:not(.pad) tr", "rows => rows.map(row => row.dataset.did)")
    return found


def keep(page: Page, name: str) -> None:
    """A picture for the README, where one is asked for."""
    folder = os.environ.get("DASHBOARD_PICTURES")
    if folder:
        page.screenshot(path=Path(folder) / f"dashboard-{name}.png")


def test_the_page_shows_what_the_topic_holds(board: Board, open_page: Callable[..., Page]) -> None:
    page = open_page(board.url)
    expect(page.locator("#empty")).to_contain_text("phonon-events serve")
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.locator("#flow-deliveries")).to_have_text("Deliveries–")

    board.write(*board.lines)
    expect(page.locator("#count")).to_have_text(f"{FEW_DIDS} DIDs")
    for window, name in enumerate(("5m", "1h", "24h")):
        page.get_by_text(name, exact=True).first.click()
        expect(page.locator("#totals [data-total=calls] .n")).to_have_text(f"in {name}")
        for line in board.lines[:12]:
            figures = board.figures(line)[window]
            expected = [
                f"{figures['attempts']:,}",
                percent(figures["answer_seizure_ratio"]),
                minutes(figures["average_call_duration_ms"]),
                percent(figures["abandonment_ratio"]),
                percent(figures["service_level"]),
            ]
            shown = cells(page, line)
            assert all(map(close, shown, expected)), (line.did, shown, expected)
            few = page.locator(f'tr[data-did="{line.did}"] td.answer[data-few]').count() == 1
            assert few == (figures["attempts"] < 30)
        calls = sum(board.figures(line)[window]["attempts"] for line in board.lines)
        expect(page.locator("#totals [data-total=calls] b")).to_have_text(f"{calls:,}")

    last = board.lines[-1]
    for _ in range(1200):
        last.call()
    board.write(last)
    calls = board.figures(last)[2]["attempts"]
    expect(page.locator(f'tr[data-did="{last.did}"] td.calls .v')).to_have_text(f"{calls:,}", timeout=10_000)
    expect(page.locator(f'tr[data-did="{last.did}"] td.calls .n')).to_have_text("+1,200")
    expect(page.locator("tbody:not(.pad) tr").first).to_have_attribute("data-did", last.did)

    board.server.kill()
    expect(page.locator("#link")).to_have_text("Not connected")
    page.wait_for_function("document.title === 'Not connected · Phonon live'")
    assert page.evaluate(CONTRAST) == [], "pale, and still to be read"
    expect(page.locator("#banner")).to_contain_text("No connection to this page's server")


def test_figures_that_stand_still_while_calls_arrive_are_no_quiet_hour(
    board: Board, open_page: Callable[..., Page]
) -> None:
    page = open_page(board.url)
    condition = """async ([written, arriving]) => { const {condition} = await import('./static/status.js');
        const status = {written_at: written, kafka: {state: "connected"}, loaded: true, receivers: {}};
        return condition("open", status, 1, 1e9, arriving).text; }"""
    shown = {of: page.evaluate(condition, [*of]) for of in ((1e9, 0), (8e8, None), (8e8, 1e9 - 9e3), (8e8, 9e8))}
    assert list(shown.values()) == ["Live", "Quiet", "Quiet", "Figures stopped"]

    troubles = """async ([stream, kafka, told]) => { const {condition} = await import('./static/status.js');
        const status = {written_at: 1e9, kafka: {reason: "so it is", since: 1e9, ...kafka}, loaded: true, ...told};
        const {level, text, why} = condition(stream, kafka && status, 1, 1e9, 1e9);
        return [level, text, why ?? ""]; }"""
    away, connected = {"state": "away"}, {"state": "connected"}
    spooling, silent = ({"receivers": {"answering": number}} for number in (1, 0))
    for given, level, text, why in (
        (("connecting", None, {}), "busy", "Connecting …", ""),
        (("connecting", connected, {}), "busy", "Connecting …", ""),
        (("lost", connected, {}), "bad", "Not connected", "The figures are from "),
        (("open", {"state": "no_topic"}, {}), "bad", "No topic", "so it is. Run `phonon-events topics create`"),
        (("open", away, spooling), "bad", "Kafka unavailable", "The receiver still accepts calls"),
        (("open", away, silent), "bad", "Kafka unavailable", "(so it is)"),
        (("open", connected, {"registry": "it is away"}), "bad", "Registry unavailable", "it is away"),
        (("open", connected, {"loaded": False}), "busy", "Loading …", ""),
    ):
        found = page.evaluate(troubles, [*given])
        assert found[:2] == [level, text], "never better than it is, though the figures are new"
        assert (why in found[2], bool(found[2])) == (True, level == "bad")
        assert ("still accepts" in found[2]) == (given[2] is spooling)


def test_what_was_chosen_is_kept_and_the_page_comes_back_after_its_server(
    board: Board, open_page: Callable[..., Page], process: Processes
) -> None:
    for quiet in board.lines[5:8]:
        quiet.counts[0].update(dict.fromkeys(quiet.counts[0], 0))
    board.write(*board.lines)
    page = open_page(board.url)
    counted = [sum(board.figures(line)[window]["attempts"] > 0 for line in board.lines) for window in (0, 1)]
    assert counted[0] < counted[1]

    def shown(number: int) -> None:
        count = f"{number} of {FEW_DIDS}" if number < FEW_DIDS else str(FEW_DIDS)
        expect(page.locator("#count")).to_have_text(f"{count} DIDs", timeout=PATIENCE_MS)

    page.get_by_label("Only with calls").check()
    shown(counted[0])
    page.keyboard.press("2")
    shown(counted[1])
    page.get_by_role("columnheader", name="DID").get_by_role("button").click()
    page.keyboard.press("1")
    page.reload()
    shown(counted[0])
    page.keyboard.press("2")
    page.reload()
    shown(counted[1])
    expect(page.get_by_label("1h").first).to_be_checked()
    expect(page.get_by_role("columnheader", name="DID")).to_have_attribute("aria-sort", "ascending")
    expect(page.get_by_label("Only with calls")).to_be_checked()

    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_label("1h").first).to_be_checked()  # keys do nothing behind the dialog

    board.server.kill()
    expect(page.locator("#link")).to_have_text("Not connected", timeout=PATIENCE_MS)
    away = board.settings | {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}
    knows_nothing = process("dashboard", settings=away, ready=f"{board.url}healthz")
    expect(page.locator("#link")).to_have_text("Kafka unavailable", timeout=PATIENCE_MS)
    knows_nothing.kill()
    process("dashboard", settings=board.settings, ready=f"{board.url}readyz")
    expect(page.locator("#link")).to_have_text("Live", timeout=PATIENCE_MS)
    board.write(board.lines[0])
    shown(counted[1])
    expect(page.locator("#banner")).to_be_hidden()


def test_a_page_that_nobody_looks_at_only_peeks(board: Board, open_page: Callable[..., Page]) -> None:
    """Its title says what fires; what it heard last is not judged by the clock."""
    board.write(*board.lines)
    page = open_page(board.url)
    page.add_init_script(
        "sources = []; "
        "EventSource = class extends EventSource { constructor(url) { super(url); sources.push(this); } };"
    )
    resting = "sources.every((one) => one.readyState === EventSource.CLOSED)"
    page.clock.install()
    page.reload()
    expect(page.locator("#link")).to_have_text("Live")
    hide = """hidden => { Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange")); }"""
    page.evaluate(hide, True)
    page.clock.fast_forward(10_000)
    page.evaluate(hide, False)
    expect(page.locator("#link")).to_have_text("Live")
    assert not page.evaluate(resting)
    page.evaluate(hide, True)
    page.clock.fast_forward(21_000)
    page.clock.fast_forward(50_000)
    assert page.evaluate(resting)
    board.tell((1, {"did": board.lines[0].did}))

    def told() -> bool:
        page.clock.fast_forward(60_000)
        return re.fullmatch(r"\(1\) .+ calls in 5m · Phonon live", page.title()) is not None

    eventually(told)
    eventually(lambda: page.evaluate(resting))
    expect(page.locator("#banner")).to_be_hidden()
    board.lines[0].call()
    board.write(board.lines[0])
    page.evaluate(hide, False)
    expect(page.locator("#link")).to_have_text("Live")
    calls = f"{board.figures(board.lines[0])[0]['attempts']:,}"
    expect(page.locator(f'tr[data-did="{board.lines[0].did}"] td.calls .v')).to_have_text(calls)


def test_sorting_and_searching_by_mouse_and_by_keyboard(board: Board, open_page: Callable[..., Page]) -> None:
    board.lines[4].counts[0].update(dict.fromkeys(board.lines[4].counts[0], 0))
    board.write(*board.lines)
    page = open_page(board.url)
    expect(page.locator("#count")).to_have_text(f"{FEW_DIDS} DIDs")
    by_calls = sorted(board.lines, key=lambda line: (-board.figures(line)[0]["attempts"], line.did))
    assert dids(page)[:20] == [line.did for line in by_calls[:20]]
    table = page.get_by_role("table", name="DIDs with their live figures")
    expect(table).to_have_attribute("aria-rowcount", str(FEW_DIDS + 1))

    for name, key in (
        ("DID", "did"),
        ("Answer rate", "answer_seizure_ratio"),
        ("Avg duration", "average_call_duration_ms"),
    ):
        head = page.get_by_role("columnheader", name=name)

        def value(line: Line, key: str = key) -> Any:
            return line.did if key == "did" else board.figures(line)[0][key]

        known = [line for line in board.lines if value(line) is not None]
        for down in (key != "did", key == "did"):  # numbers begin with the greatest, DIDs with the first
            head.get_by_role("button").click()
            expect(head).to_have_attribute("aria-sort", "descending" if down else "ascending")
            expected = sorted(sorted(known, key=lambda line: line.did), key=value, reverse=down)
            page.evaluate(TWO_FRAMES)  # drawn, however busy the machine is
            assert dids(page)[:15] == [line.did for line in expected[:15]], "what has no value is last both ways"
    expect(page.locator("th[aria-sort]")).to_have_count(1)
    for name in ("Abandoned", "Service level", "Trend", "Updated", "Calls"):
        page.get_by_role("columnheader", name=name).get_by_role("button").press("Enter")
        expect(page.get_by_role("columnheader", name=name)).to_have_attribute("aria-sort", "descending")
    page.get_by_role("columnheader", name="Calls").get_by_role("button").press("Enter")
    expect(page.get_by_role("columnheader", name="Calls")).to_have_attribute("aria-sort", "ascending")

    wanted = board.lines[7].did
    for query in (wanted, wanted[3:9], f"0{wanted[3:5]} {wanted[5:9]} {wanted[9:]}"):
        page.locator("body").press("/")
        page.keyboard.type(query)
        expect(page.locator("#count")).to_contain_text("of 60 DIDs")
        assert wanted in dids(page)
        page.keyboard.press("Escape")
        expect(page.locator("#count")).to_have_text(f"{FEW_DIDS} DIDs")
        page.locator("#search").blur()
    likely = "async ([ratio, n]) => (await import('./static/format.js')).between(ratio, n)"
    assert [page.evaluate(likely, [*of]) for of in ((0, 4), (0.5, 30), (1, 12), (None, 4))] == [
        "0 – 49 %",
        "33 – 67 %",
        "76 – 100 %",
        None,
    ]
    page.locator("#search").fill("no such DID")
    expect(page.locator("#empty")).to_contain_text("No DID matches")
    page.locator("#search").fill("")
    expect(page.locator("#empty")).to_be_hidden()  # until then there is nothing that could have the focus

    page.get_by_label("DIDs, live").focus()
    for key in ("End", "PageUp", "Home", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    focused = "document.activeElement.closest('tr')"
    assert page.evaluate(f"{focused}.getAttribute('aria-rowindex')") == "4"
    did = page.evaluate(f"{focused}.dataset.did")
    page.keyboard.press("3")
    expect(page.get_by_label("24h").first).to_be_checked()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_be_focused()
    assert did in page.evaluate("decodeURIComponent(location.hash)")
    page.keyboard.press("Escape")
    expect(page.locator(f'tr[data-did="{did}"] a')).to_be_focused()  # back where one was, once the list is drawn again
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_be_focused()
    page.keyboard.press("/")
    expect(page.locator("#list")).to_be_visible()
    page.evaluate(TWO_FRAMES)
    expect(page.locator("#search")).to_be_focused()


def test_rows_do_not_jump_away_from_under_the_pointer(board: Board, open_page: Callable[..., Page]) -> None:
    board.write(*board.lines)
    page = open_page(board.url)
    expect(page.locator("#count")).to_have_text(f"{FEW_DIDS} DIDs")
    before = dids(page)
    rising = [line for did in before[5:7] for line in board.lines if line.did == did]
    for n, line in enumerate(rising):
        for _ in range(2_000):
            line.call()
        page.locator("tbody:not(.pad) tr").nth(n).hover()
        board.write(line)
        calls = f"{board.figures(line)[0]['attempts']:,}"
        expect(page.locator(f'tr[data-did="{line.did}"] td.calls .v')).to_have_text(calls)
        page.wait_for_timeout(2_000)  # without the pointer it would be sorted after 1.5 s
        assert dids(page) == before
    page.mouse.move(0, 0)
    highest = max(rising, key=lambda line: board.figures(line)[0]["attempts"])
    expect(page.locator("tbody:not(.pad) tr").first).to_have_attribute("data-did", highest.did)


def test_a_dids_own_view_shows_all_figures_of_its_record(board: Board, open_page: Callable[..., Page]) -> None:
    board.write(*board.lines)
    line = board.lines[0]
    page = open_page(f"{board.url}#/did/%2B{line.did[1:]}", color_scheme="dark")
    expect(page.get_by_role("heading", level=2)).to_contain_text("+91 22 4000 0000")
    page.locator("[data-figure=attempts]").first.wait_for()

    def shown() -> dict[str, list[str]]:
        found: dict[str, list[str]] = page.evaluate(
            """() => { const found = {}; for (const cell of document.querySelectorAll("details [data-figure]"))
               (found[cell.dataset.figure] ??= []).push(cell.querySelector(".v").textContent); return found; }"""
        )
        return found

    page.get_by_text("All figures and what they mean").click()
    before = shown()
    assert set(before) == set(FIGURES), "every figure of the schema, and no other"
    said = " ".join(page.locator("details .meaning").all_inner_texts())
    assert re.findall(r"\b[a-z]+_[a-z_]+\b|\bms\b|\bnull\b", said) == [], "in the page's words"
    assert "(answered + busy + No answer + rejected) / (attempts - Unknown)" in said
    known = board.figures(line)[0]["attempts"] - board.figures(line)[0]["unknown_cause"]
    expect(page.locator("[data-figure=network_effectiveness_ratio] .n").first).to_have_text(f"of {known:,}")
    for name in FIGURES:
        expected = [written(name, window[name]) for window in board.figures(line)]
        assert all(map(close, before[name], expected)), (name, before[name], expected)
    expect(page.locator("details .meaning").first).to_have_text("Visitor legs, a count.")
    bar = page.get_by_role("img", name="Outcomes of").first
    assert f"Answered {board.figures(line)[0]['answered']}" in str(bar.get_attribute("aria-label"))

    line.call()
    board.write(line)
    calls = board.figures(line)[0]["attempts"]
    expect(page.locator("[data-figure=attempts][data-window='5m'] .v").first).to_have_text(str(calls), timeout=4_000)
    page.get_by_role("link", name="All DIDs").click()
    expect(page.locator(f'tr[data-did="{line.did}"]')).to_be_visible()

    page.evaluate("location.hash = '#/did/%2B000'")
    expect(page.locator("#one")).to_contain_text("no figures for this DID")
    back = page.get_by_role("link", name="All DIDs")
    back.focus()
    with page.expect_response(re.compile("/dids/"), timeout=15_000):
        pass  # it is asked again with each sample
    page.wait_for_timeout(200)
    expect(back).to_be_focused()


def figure(page: Page, key: str) -> list[str]:
    """A figure of the view of one DID, window by window, where it is first shown."""
    return page.locator(f".card:not(:has(details)) [data-figure={key}] .v").all_inner_texts()


def places(page: Page) -> dict[str, list[str]]:
    """The tree of the menu in its order: place -> calls, share, left, as written."""
    found: list[tuple[str, list[str]]] = page.evaluate(
        """() => [...document.querySelectorAll(".places li")].map((item) => [item.dataset.path,
           [...item.firstElementChild.children].slice(2).map((one) => one.firstChild.textContent)])"""
    )
    return dict(found)


def shares(window: dict[str, Any]) -> dict[str, list[str]]:
    """What the tree must hold of a window's own places."""
    flows = {place["path"]: place["flows"] for place in window["menu"]}
    above = {path: flows.get(path.rpartition(">")[0], window["flows_with_key"]) for path in flows}
    return {
        path: [f"{flows[path]:,}", percent(flows[path] / above[path]), f"{place['left']:,}"]
        for path, place in ((place["path"], place) for place in window["menu"])
    }


def violations(page: Page) -> list[tuple[str, str]]:
    """What axe finds: the rule, and the first place."""
    return [(one["id"], one["nodes"][0]["html"]) for one in Axe().run(page).response["violations"]]


#: The moves of anything in the tree, from now on.
SHIFTS: Final = """() => { window.moved = []; new PerformanceObserver((seen) => { for (const entry of seen.getEntries())
    for (const {node} of entry.sources) if (node?.parentElement?.closest(".menu")) moved.push(node.textContent);
}).observe({type: "layout-shift", buffered: false}); }"""
#: Returns once what was changed before is on the screen: the second frame begins after the first was drawn.
DRAWN: Final = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
VIEW: Final = {"width": 1360, "height": 1470}


def test_a_scale_is_round_and_a_gap_stays_one(board: Board, open_page: Callable[..., Page]) -> None:
    page = open_page(board.url)
    tops = "async (asked) => { const {top} = await import('./static/chart.js'); return asked.map((a) => top(...a)); }"
    counts = [0, 1, 2, 3, 5, 7, 23, 100, 101]
    assert page.evaluate(tops, [[n, "count"] for n in counts]) == [1, 1, 2, 5, 5, 10, 50, 100, 200]
    assert page.evaluate(tops, [[ms, "time"] for ms in (0, 95_000, 3_600_000)]) == [10_000, 120_000, 3_600_000]
    assert page.evaluate(tops, [[0.07, "ratio"]]) == [1], "always up to 100 %"
    drawn = "async (points) => (await import('./static/spark.js')).line(points, 40, 12)"
    assert page.evaluate(drawn, [7, 0, -1, 7, 7]) == "M0.0 3.0L10.0 10.0M30.0 3.0L40.0 3.0"
    assert page.evaluate(drawn, [None, None]) == ""


def test_people_the_voice_menu_and_lines(board: Board, open_page: Callable[..., Page]) -> None:
    board.write(*board.lines)
    line = board.lines[0]
    page = open_page(f"{board.url}#/did/%2B{line.did[1:]}", viewport=VIEW)
    page.locator(".places li").first.wait_for()
    windows = board.figures(line)
    for key in ("callers", "repeat_caller_ratio", "containment_ratio", "drop_off_ratio", "peak_legs", "mean_legs"):
        expected = [written(key, window[key]) for window in windows]
        assert all(map(close, figure(page, key), expected)), (key, figure(page, key), expected)
    expect(page.locator("#one")).to_contain_text("Settled until ")

    everywhere = {place["path"] for window in windows for place in window["menu"]}
    for name, window in zip(("5m", "1h", "24h"), windows, strict=True):
        page.locator(".menu .switch").get_by_text(name, exact=True).click()
        expect(page.locator(".menu .note")).to_contain_text(f"{window['flows_with_key']} calls with a key in {name}.")
        seen, own = places(page), shares(window)
        assert seen.keys() == everywhere, "places stay where another window has them"
        assert {path: texts for path, texts in seen.items() if path in own} == own
        assert all(texts[0] == "0" for path, texts in seen.items() if path not in own)
    first = [path for path in seen if ">" not in path]
    assert first == [choice for choice in ("1", "2", "3", "0", "*", "other") if choice in everywhere]
    item = page.locator('.places li[data-path="1>1>data"]')
    assert item.locator("xpath=ancestor::li").count() == 2
    expect(item).to_contain_text("typed a number")
    said = " ".join(str(page.locator('.places li[data-path="1"] > .place').text_content()).split())
    assert said == "Key 1: {} calls, {} of the previous step, {} left here".format(*shares(windows[2])["1"])
    keep(page, "did")

    alert = {"metric": "containment_ratio", "window": "1h", "value": 0.25, "n": 120, "threshold": 0.5}
    in_words = "async (alert) => (await import('./static/episodes.js')).sentence(alert)"
    assert page.evaluate(in_words, alert) == "Solved without an agent 25.0 % of 120, below 50.0 %"

    page.locator(".menu .switch input:checked").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("group", name="What callers chose")).to_be_focused()
    page.keyboard.press("1")
    expect(page.locator(".menu .note")).to_contain_text(f"{windows[0]['flows_with_key']} calls with a key in 5m.")
    page.evaluate(DRAWN)  # the bars of another window have other places, and may be drawn after it is chosen
    page.evaluate(SHIFTS)
    for _ in range(40):
        line.call()
    board.write(line)
    now = board.figures(line)[0]
    expect(page.locator(".menu .note")).to_contain_text(f"{now['flows_with_key']} calls with a key in 5m.")
    seen = places(page)
    assert {path: seen[path] for path in shares(now)} == shares(now)
    page.wait_for_timeout(300)
    assert seen.keys() == everywhere
    assert page.evaluate("moved") == []
    page.evaluate("document.querySelector('.places li').style.paddingTop = '20px'")
    page.wait_for_function("() => moved.length > 0")


def test_a_group_has_a_menu_and_no_peak_and_without_a_key_callers_are_unknown(
    board: Board, open_page: Callable[..., Page]
) -> None:
    nameless, keyless, group = *board.lines[1:3], lines(1)[0]
    nameless.forget_callers()
    for paths in keyless.paths:
        paths.clear()
    group.did = "group/sales"
    board.write(nameless, keyless)
    board.producer.produce(board.topic.replace("did-", "group-"), key=group.did, value=group.value(1_790_000_000_000))
    assert board.producer.flush(10) == 0
    page = open_page(f"{board.url}#/did/%2B{nameless.did[1:]}")
    page.locator(".places li").first.wait_for()
    expect(page.locator("#one")).to_contain_text("Callers can be told apart once PHONON_PSEUDONYM_KEY is set")
    for key in ("callers", "repeat_caller_ratio", "containment_ratio"):
        assert figure(page, key) == ["–", "–", "–"]

    page.evaluate("did => { location.hash = '#/did/' + encodeURIComponent(did) }", keyless.did)
    expect(page.locator(".menu .note")).to_have_text("No caller has chosen anything yet.")
    expect(page.locator(".places")).to_be_hidden()

    page.evaluate("location.hash = '#/did/group%2Fsales'")
    expect(page.get_by_role("heading", level=2)).to_have_text(group.did)
    expect(page.locator("#one")).to_contain_text("who called two of them counts twice")
    assert figure(page, "callers") == [f"{counts['callers']:,}" for counts in group.counts]
    page.get_by_text("All figures and what they mean").click()
    assert figure(page, "peak_legs") == ["–", "–", "–"]
    assert figure(page, "mean_legs") != ["–", "–", "–"]
    page.locator(".places li").first.wait_for()
    assert figure(page, "no_input_ratio")[2] == percent(
        group.counts[2]["flows_without_key"] / group.counts[2]["flows_reached"]
    )


@pytest.mark.parametrize("viewport", [SIZE, PHONE], ids=["desk", "telephone"])
def test_axe_finds_nothing_in_a_dids_own_view(
    board: Board, open_page: Callable[..., Page], viewport: dict[str, int]
) -> None:
    board.write(*board.lines)
    for scheme in ("light", "dark"):
        page = open_page(f"{board.url}#/did/%2B{board.lines[0].did[1:]}", viewport=viewport, color_scheme=scheme)
        page.locator(".places li").first.wait_for()
        page.get_by_text("All figures and what they mean").click()
        assert violations(page) == []


def test_alerts_are_told_and_lead_to_their_did(board: Board, open_page: Callable[..., Page]) -> None:
    board.write(*board.lines)
    now = round(time.time() * 1000)
    did, other = board.lines[3].did, board.lines[30].did
    few = {"did": did, "since": now - 300_000, "as_of": now - 240_000}
    wait = {"metric": "average_time_to_agent_ms", "value": 94_500.0, "threshold": 60_000.0, "n": 40, "window": "1h"}
    silent = {"rule": "silent", "metric": "attempts", "value": 0.0, "n": 0, "threshold": 42.5, "window": None}
    burst = {"rule": "burst", "metric": "attempts", "value": 812.0, "n": 812, "threshold": 500.0, "did": None}
    page = open_page(board.url)
    expect(page.locator("#count")).to_have_text(f"{FEW_DIDS} DIDs")
    expect(page.locator("#alerts")).to_be_hidden()
    expect(page.locator("#alarm")).to_be_hidden()
    assert not page.title().startswith("(")

    board.tell((1, few))
    expect(page.locator("#alarm")).to_have_text("1 alert firing")
    expect(page.locator("#firing .what")).to_have_text("Answer rate 25.0 % of 120, below 50.0 %")
    expect(page.locator("#firing .length")).to_have_text("for 5 min")
    expect(page.locator("#news")).to_contain_text("New alert: few answers, +91")
    board.tell(
        (2, few | wait | {"did": other, "rule": "long waits", "since": now - 60_000}),
        (3, few | silent | {"since": now - 120_000}),
        (4, few | burst | {"group": "campaign spring", "since": now - 180_000}),
        (5, few | {"metric": "talk_p99_ms", "value": 95_000.0, "threshold": 60_000.0, "since": now - 400_000}),
    )
    expect(page.locator("#firing-title")).to_have_text("5 alerts firing")
    expect(page.locator("#firing .rule")).to_have_text(["long waits", "silent", "burst", "few answers", "few answers"])
    expect(page.locator("#firing .what")).to_have_text(
        [
            "Average wait 1:35 of 40, above 1:00",
            "Calls 0, 42.5 expected",
            "Calls 812, above 500",
            "Answer rate 25.0 % of 120, below 50.0 %",
            "Talk p99 1:35 of 120, above 1:00",
        ]
    )
    expect(page.locator("#firing a")).to_have_count(5)
    expect(page.locator("#firing .window")).to_have_text(["1h", "", "5m", "5m", "5m"])
    page.wait_for_function("document.title.startsWith('(5) ')")

    page.locator("body").press("a")
    expect(page.locator("#firing a").first).to_be_focused()
    page.keyboard.press("ArrowDown")
    board.tell((2, few | wait | {"did": other, "state": "RESOLVED", "value": None, "as_of": now}))
    expect(page.locator("#firing-title")).to_have_text("4 alerts firing")
    expect(page.locator("#firing a").first).to_be_focused()
    expect(page.locator("#over-title")).to_have_text("1 ended")
    page.locator("#over-title").click()
    expect(page.locator("#over .what")).to_have_text("Average wait 1:35 of 40, above 1:00")
    expect(page.locator("#over .length")).to_have_text("lasted 1 min")

    page.locator("#firing a").first.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_contain_text("+91")
    assert did in page.evaluate("decodeURIComponent(location.hash)")
    expect(page.locator("#one .alerts .rule")).to_have_text(["silent", "few answers", "few answers"])
    board.tell((3, few | silent | {"state": "RESOLVED", "as_of": now}))
    expect(page.locator("#one .alerts .rule")).to_have_text(["few answers", "few answers", "silent"])
    page.wait_for_function("document.title.startsWith('(3) ')")

    page.evaluate("location.hash = '#/'")
    page.locator("#firing a", has_text="burst").click()
    expect(page.get_by_role("heading", level=2)).to_have_text("campaign spring")
    expect(page.locator("#one .alerts .rule")).to_have_text(["burst"])
    page.keyboard.press("a")
    expect(page.locator("#firing a").first).to_be_focused()

    again = open_page(board.url)
    expect(again.locator("#firing-title")).to_have_text("3 alerts firing")
    expect(again.locator("#over-title")).to_have_text("2 ended")
    expect(again.locator("#news")).to_have_text("")


def test_without_a_topic_of_alerts_the_page_is_quiet(board: Board, open_page: Callable[..., Page]) -> None:
    topic = topic_name(board.settings["PHONON_TOPIC_PREFIX"], "DidAlert")
    admin = AdminClient({"bootstrap.servers": board.settings["KAFKA_BOOTSTRAP_SERVERS"]})
    admin.delete_topics([topic])[topic].result()
    board.write(*board.lines)
    page = open_page(board.url)
    page.wait_for_timeout(3_000)
    board.write(board.lines[-1])
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.locator("#count")).to_have_text(f"{FEW_DIDS} DIDs")
    expect(page.locator("#alerts")).to_be_hidden()
    create_topics(read_settings(board.settings))
    board.tell((1, {}))
    expect(page.locator("#alarm")).to_have_text("1 alert firing", timeout=PATIENCE_MS)


def written(name: str, value: float | None) -> str:
    if name == "mean_legs" and value is not None:
        return f"{value:,.1f}"
    if name.endswith(("_ratio", "_level")):
        return percent(value)
    if not name.endswith("_ms") or value is None:
        return "–" if value is None else f"{int(value):,}"
    seconds = int(value / 1000 + 0.5)
    hours = f"{seconds // 3600}:" if seconds >= 3600 else ""
    return hours + (f"{seconds // 60 % 60:02}" if hours else f"{seconds // 60}") + f":{seconds % 60:02}"


def test_light_and_dark_can_be_read(board: Board, open_page: Callable[..., Page]) -> None:
    board.write(*board.lines)
    now = round(time.time() * 1000)
    for number, line in enumerate(board.lines[2:5]):
        began = {"did": line.did, "since": now - (number + 2) * 400_000, "as_of": now - 500_000}
        board.tell((number, began))
    other = began | {"rule": "short calls"}
    board.tell((9, other), (9, other | {"state": "RESOLVED"}))
    grounds = set()
    for scheme in ("light", "dark"):
        page = open_page(board.url, color_scheme=scheme, reduced_motion="reduce")
        expect(page.locator("#count")).to_have_text(f"{FEW_DIDS} DIDs")
        expect(page.locator("#firing-title")).to_have_text("3 alerts firing")
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.wait_for_timeout(100)
        assert page.evaluate(CONTRAST) == []
        keep(page, scheme)
        page.evaluate("did => { location.hash = '#/did/' + encodeURIComponent(did) }", board.lines[2].did)
        page.locator("[data-figure=attempts]").first.wait_for()
        assert page.evaluate(CONTRAST) == []
    assert grounds == {"rgb(244, 246, 248)", "rgb(13, 18, 24)"}


def test_a_telephone_shows_what_matters_without_scrolling_sideways(
    board: Board, open_page: Callable[..., Page]
) -> None:
    board.write(*board.lines)
    page = open_page(board.url, viewport=PHONE)
    expect(page.locator("#count")).to_have_text(f"{FEW_DIDS} DIDs")
    first = page.locator(f'tr[data-did="{board.lines[0].did}"]')
    for place in ("th a", "td.calls .v", "td.answer .v"):
        box = first.locator(place).bounding_box()
        assert box
        assert box["x"] + box["width"] <= PHONE["width"], place
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    first.locator("th a").click()
    page.locator("[data-figure=attempts]").first.wait_for()
    hidden = "[...document.querySelectorAll('.card')].filter(c => c.scrollWidth > c.clientWidth).length"
    assert page.evaluate(hidden) == 0
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_five_thousand_dids_are_sixty_rows(board: Board, open_page: Callable[..., Page]) -> None:
    many = lines(5_000)
    board.write(*many)
    page = open_page(board.url)
    expect(page.locator("#count")).to_have_text("5,000 DIDs", timeout=PATIENCE_MS)
    assert page.locator("tbody:not(.pad) tr").count() < 60
    page.get_by_label("DIDs, live").focus()
    page.keyboard.press("End")
    expect(page.locator('tr[aria-rowindex="5001"] a')).to_be_focused()


def test_a_slow_link_is_waited_for(board: Board, open_page: Callable[..., Page]) -> None:
    """Of a snapshot that took over 5 s nothing was heard before its end: the page gave up and asked again, for ever."""
    board.write(*lines(5_000))
    page = open_page(board.url)
    expect(page.locator("#count")).to_have_text("5,000 DIDs", timeout=PATIENCE_MS)
    link = page.context.new_cdp_session(page)
    link.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": 75_000, "uploadThroughput": -1}
    link.send("Network.emulateNetworkConditions", slow)
    page.reload()
    expect(page.locator("#link")).not_to_have_text("Live")
    expect(page.locator("#count")).to_have_text("5,000 DIDs", timeout=60_000)


def test_groups_have_rows_of_their_own_and_a_ranking_leaves_out_what_rests_on_little(
    board: Board, open_page: Callable[..., Page]
) -> None:
    few = board.lines[FEW_DIDS - 1]
    for window in few.counts:
        window.update(dict.fromkeys(window, 0), attempts=1, answered=1)
    board.write(*board.lines)
    page = open_page(board.url)
    expect(page.locator("#count")).to_have_text(f"{FEW_DIDS} DIDs")
    expect(page.get_by_role("radio", name="Groups")).to_be_hidden()

    page.get_by_role("columnheader", name="Answer rate").get_by_role("button").click()
    expect(page.locator("#dids tbody tr").nth(1)).to_contain_text("100.0 %")
    assert few.did in dids(page)
    page.get_by_role("spinbutton", name="At least").press_sequentially("20")
    expect(page.get_by_label("5m").first).to_be_checked()  # digits elsewhere choose the window
    ranked = [line for line in board.lines if board.figures(line)[0]["attempts"] >= 20]
    ranked.sort(key=lambda line: (-board.figures(line)[0]["answer_seizure_ratio"], line.did))
    expect(page.locator("#count")).to_have_text(f"{len(ranked)} of {FEW_DIDS} DIDs")
    assert dids(page)[:15] == [line.did for line in ranked[:15]]
    page.get_by_role("spinbutton", name="At least").fill("")

    group, slashed = lines(1)[0], lines(1)[0]
    group.did, slashed.did = "group/sales team", "022/4369"  # what is no number stays as it was sent
    board.producer.produce(board.topic.replace("did-", "group-"), key=group.did, value=group.value(1_790_000_000_000))
    board.write(slashed)
    page.get_by_text("Groups", exact=True).click()
    expect(page.locator("#count")).to_have_text("1 group")
    expect(page.locator("thead .did")).to_have_text("Group")
    assert dids(page) == [group.did]
    expect(page.get_by_role("link", name=group.did)).to_have_attribute("title", group.did)
    page.locator("#search").fill("no such group")
    expect(page.locator("#empty")).to_contain_text("No group matches")
    page.locator("#search").fill("")
    other = lines(1)[0]
    other.did = "campaign/spring"
    board.producer.produce(board.topic.replace("did-", "group-"), key=other.did, value=other.value(1_790_000_000_000))
    board.producer.flush(10)
    expect(page.locator("#count")).to_have_text("2 groups: a call in two counts twice")
    page.get_by_role("link", name=group.did).click()
    expect(page.get_by_role("heading", level=2)).to_have_text(group.did)
    expect(page.locator("#one table").first).to_contain_text(f"{group.counts[2]['attempts']:,}")
    page.keyboard.press("Escape")
    page.get_by_text("DIDs", exact=True).first.click()
    expect(page.locator("#count")).to_have_text(f"{FEW_DIDS + 1} DIDs")
