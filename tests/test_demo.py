"""The demo: what it prints, which settings its parts get, and that it leaves nothing behind."""

import io
import os
import re
import shutil
import signal
from collections import Counter
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from app.demo import parts
from app.demo.broker import MOCK_LIMITS, Elsewhere
from app.demo.calls import did_numbers
from app.demo.parts import PSEUDONYM_KEY, SHOWN, Parts, addresses, environment
from app.demo.ports import answers
from app.demo.provider import SyntheticProvider
from app.demo.run import Stopped, _show
from app.demo.traffic import DIDS, KEPT, LEFT_OUT, bodies, wanted
from app.demo.view import line, minutes, percent, table
from app.demo.watch import Seen, counters, sums
from schemas.settings import read_settings
from streams.groups import read_csv
from streams.rules import read_rules
from tests.processes import Processes

SETTINGS = read_settings({})
NOW = datetime(2026, 11, 22, 12, 0, 40, tzinfo=UTC)


def window(**figures: Any) -> dict[str, Any]:
    quiet = {
        "name": "5m",
        "attempts": 0,
        "answer_seizure_ratio": None,
        "average_call_duration_ms": None,
        "abandonment_ratio": None,
        "service_level": None,
    }
    return quiet | figures


def seen() -> Seen:
    """Two DIDs, one quiet in the short window."""
    busy = window(attempts=4, answer_seizure_ratio=0.75, average_call_duration_ms=125_230.0, service_level=1.0)
    hour = window(name="1h", attempts=9, answer_seizure_ratio=1 / 3, abandonment_ratio=0.5)
    shown = Seen()
    shown.add({"did": "+911", "as_of": 0, "windows": [window(), window(name="1h", attempts=1)]}, 9_000)
    shown.add({"did": "+912", "as_of": 0, "windows": [busy, hour]}, 8_000)
    return shown


TOTALS = Counter({"phonon_deliveries_total": 7, "phonon_events_total": 50, "phonon_spool_rows": 1})


def test_a_line_holds_what_went_through_and_the_busiest_did() -> None:
    assert line(TOTALS, seen(), 9_500) == (
        "7 deliveries, 50 events, 1 spooled, newest figures 0.5 s old; +912: calls 4/9, answered 75%/33%, "
        "average 2:05/-, abandoned -/50%, in 20 s 100%/-"
    )


def test_before_the_first_figures_the_line_says_so() -> None:
    assert line(Counter(), Seen(), 0) == "0 deliveries, 0 events, 0 spooled, no figures yet"


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(TOTALS, seen(), 9_500))
    text = console.export_text()
    assert "Live metrics per DID, 5m/1h" in text
    assert re.search(r"\+912 .*4/9 .*75%/33% .*2:05/- .*-/50% .*100%/-", text)
    assert text.index("+912") < text.index("+911")


def test_nothing_counted_is_no_ratio() -> None:
    assert (percent(None), percent(0.0), minutes(None), minutes(59_999.0)) == ("-", "0%", "-", "1:00")


def test_counters_are_added_up_over_their_labels() -> None:
    page = '# TYPE a counter\na_total{status="200"} 2.0\na_total{status="202"} 1.0\n# TYPE b gauge\nb 4\n'
    assert sums(page) == {"a_total": 3, "b": 4}


def test_parts_on_a_broker_of_our_own_see_no_other(tmp_path: Path) -> None:
    outer = {"PATH": "/bin", "KAFKA_SASL_PASSWORD": "x", "SCHEMA_REGISTRY_URL": "http://r", "PHONON_HOST": "0.0.0.0"}
    outer["PHONON_ALLOWED_IPS"] = "203.0.113.7"
    theirs = environment(outer, SETTINGS, Elsewhere("jars", "127.0.0.1:1"), tmp_path)
    ours = read_settings(theirs)
    assert dict(ours.kafka) == {"bootstrap.servers": "127.0.0.1:1"}
    assert (ours.schema_registry_url, ours.host, ours.topic_prefix) == (None, "127.0.0.1", "phonon")
    assert ours.allowed_ips == ()
    assert (ours.spool_dir, ours.state_dir) == (tmp_path / "spool", tmp_path / "state")
    assert ours.pseudonym_key == PSEUDONYM_KEY
    theirs = environment(
        {**outer, "PHONON_PSEUDONYM_KEY": "a user's own"}, SETTINGS, Elsewhere("jars", "a:1"), tmp_path
    )
    assert read_settings(theirs).pseudonym_key == "a user's own"


def test_the_demo_has_groups_rules_and_rankings_unless_the_user_has(tmp_path: Path) -> None:
    kafka = Elsewhere("jars", "127.0.0.1:1")
    ours = read_settings(environment({}, SETTINGS, kafka, tmp_path))
    assert ours.groups is not None
    assert ours.alert_rules is not None
    groups, rules = read_csv(ours.groups.read_text()), read_rules(ours.alert_rules.read_text(), ours.windows)
    kinds = [sorted(name.partition("/")[0] for name in groups.of(did)) for did in did_numbers(DIDS)]
    assert kinds == [["group", "region"]] * DIDS
    assert (len(rules.rules), len(rules.groups)) == (2, 1)
    theirs = environment({"PHONON_GROUPS": "theirs.csv"}, SETTINGS, kafka, tmp_path)
    assert (theirs["PHONON_GROUPS"], theirs["PHONON_RANKINGS"]) == ("theirs.csv", SHOWN["PHONON_RANKINGS"])
    read_settings(environment({"PHONON_WINDOWS": "15m"}, SETTINGS, kafka, tmp_path))


def test_made_up_calls_do_not_land_among_real_ones(tmp_path: Path) -> None:
    outer = {"KAFKA_BOOTSTRAP_SERVERS": "there:1", "KAFKA_SASL_MECHANISM": "PLAIN"}
    ours = read_settings(environment(outer, SETTINGS, Elsewhere("given", "there:1"), tmp_path))
    assert ours.kafka["sasl.mechanism"] == "PLAIN"
    assert ours.topic_prefix == "phonon-demo"


def test_the_address_lines_hold_a_call_that_has_just_ended() -> None:
    text = "\n".join(addresses(SETTINGS, Elsewhere("jars", "127.0.0.1:1"), 9101, NOW))
    assert "curl http://127.0.0.1:8080/webhooks/phonon -d '{" in text
    assert (
        '"startTime":"2026-11-22T12:00:00Z","connectTime":"2026-11-22T12:00:10Z","endTime":"2026-11-22T12:00:40Z"'
        in text
    )
    assert "http://127.0.0.1:9101/metrics" in text
    assert " send --url http://127.0.0.1:8080/webhooks/phonon --synthetic " in text
    command = re.findall(r"phonon (\S+) tail --from-beginning", text)
    assert command
    assert shutil.which(command[0])


def test_the_commands_that_it_shows_can_be_copied_from_a_path_with_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PROGRAM", "/my work/.venv/bin/phonon-events")
    monkeypatch.setenv("PATH", "")
    text = "\n".join(addresses(SETTINGS, Elsewhere("jars", "127.0.0.1:1"), 9101, NOW))
    assert text.count("'/my work/.venv/bin/phonon-events' ") == text.count("phonon-events") == 2


def test_the_traffic_begins_with_the_past_and_leaves_the_did_of_the_sample_out() -> None:
    source = bodies(1.0, 1, datetime.now(UTC))
    past = [next(source) for _ in range(100)]
    assert all(LEFT_OUT[0][1:].encode() not in body for body in past)


def test_what_is_kept_of_the_traffic_comes_at_the_rate_that_was_asked_for() -> None:
    start = datetime(2026, 11, 24, 9, tzinfo=UTC)
    coming = SyntheticProvider(2, start=start, dids=DIDS, rate=10 / KEPT).deliveries()
    first = takewhile(lambda delivery: delivery.at < start + timedelta(minutes=30), coming)
    assert sum(map(wanted, first)) == pytest.approx(10 * 1800, rel=0.03)


@pytest.mark.broker
@pytest.mark.usefixtures("kafka")
def test_the_demo_runs_and_leaves_nothing_behind(process: Processes, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    demo = process("demo", "--rate", "5", settings={"TMPDIR": str(scratch)}, ready="First figures", within_seconds=60)
    demo.wait_until(lambda: bool(re.search(r"[1-9]\d* deliveries, .* calls \d", demo.output)), within_seconds=15)
    pages = re.findall(r"(http://\S+)/metrics", demo.output)
    assert [answers(f"{page}/readyz") for page in pages] == [True, True]
    [live] = re.findall(r"Live page +(http://\S+/)", demo.output)
    assert answers(live)
    assert answers(f"{live}readyz")
    demo.wait_until(lambda: counters(int(pages[1].rpartition(":")[2]))["phonon_groups"] > 0, within_seconds=15)
    assert any(scratch.iterdir())

    demo.signal(signal.SIGTERM)
    assert demo.wait(30) == 0
    assert demo.output.endswith("Stopped; nothing is left running.\n")
    assert [answers(f"{page}/healthz") for page in pages] == [False, False]
    assert list(scratch.iterdir()) == []


def test_a_terminal_that_is_gone_stops_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed with `make run` as its only program, it sends SIGHUP to make alone, which waits for the demo."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    ours, theirs = os.openpty()
    looked: list[bool] = []

    def look() -> tuple[Counter[str], Seen, int]:
        looked.append(True)
        if len(looked) == 2:
            os.close(ours)
        assert len(looked) < 5, "it goes on"
        return TOTALS, seen(), 9_500

    with open(theirs, "w") as terminal, ExitStack() as stack:
        with suppress(OSError, Stopped):  # what it shows at its end can't be written
            _show(Console(file=terminal), Parts({}, Path(), stack, Elsewhere("jars", "127.0.0.1:1")), look)
        with suppress(OSError):
            terminal.flush()
    assert len(looked) == 2


def commands_below(pid: int) -> dict[int, str]:
    """The command line of each child of a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child): Path(f"/proc/{child}/cmdline").read_text() for child in children}


@pytest.mark.broker
@pytest.mark.usefixtures("kafka")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_demo_stopped_while_it_starts_leaves_nothing_behind(
    number: signal.Signals, process: Processes, tmp_path: Path
) -> None:
    """By Ctrl-C, or by closing its terminal."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    demo = process("demo", settings={"TMPDIR": str(scratch)}, ready="Starting Apache Kafka", within_seconds=30)
    demo.wait_until(lambda: "kafka." in "".join(commands_below(demo.pid).values()), within_seconds=15)
    demo.signal(number)
    assert demo.wait(30) == 0
    assert demo.output.endswith("Stopped; nothing is left running.\n")
    assert list(scratch.iterdir()) == []


@pytest.mark.broker
@pytest.mark.usefixtures("kafka")
def test_the_demo_says_which_part_died(process: Processes) -> None:
    demo = process("demo", ready="First figures", within_seconds=60)
    commands = commands_below(demo.pid)
    [receiver] = [pid for pid, command in commands.items() if command.endswith("\0serve\0")]
    os.kill(receiver, signal.SIGKILL)
    assert demo.wait(30) == 1
    assert demo.output.endswith("phonon-events: the receiver ended with code -9\n")
    assert not any(Path(f"/proc/{pid}").exists() for pid in commands)


@pytest.mark.skipif(Path("/var/run/docker.sock").exists(), reason="Docker comes before the mock")
def test_without_java_the_demo_runs_on_a_mock_and_says_so(process: Processes, tmp_path: Path) -> None:
    (tmp_path / "app.py").touch()  # of the folder in which it runs, where no part of ours is looked for
    demo = process("demo", settings={"JAVA_HOME": "/nonexistent"}, ready="First figures", within_seconds=60)
    demo.wait_until(lambda: bool(re.search(r"[1-9]\d* deliveries, .* calls \d", demo.output)), within_seconds=15)
    assert "no java found" in demo.output
    assert MOCK_LIMITS in demo.output
