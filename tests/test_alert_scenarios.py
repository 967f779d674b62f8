"""Golden scenarios: what should ring rings once and is over once, whatever is killed; normal traffic rings nothing."""

import signal
import time
from pathlib import Path
from random import Random

import pytest

from app.demo.broker import Broker
from app.demo.calls import did_numbers
from schemas import encode
from schemas.settings import Window
from streams import told
from streams.rules import read_rules
from tests import scenarios
from tests.flow_oracle import MINUTE, Record
from tests.flow_traffic import FlowTopic, Workers
from tests.patience import eventually
from tests.processes import Processes
from tests.scenarios import HOUR
from tests.test_alerts import Run

WINDOWS = (Window("5m", 300), Window("1h", 3600), Window("24h", 86_400))
EXAMPLE = Path(__file__).parents[1] / "deploy" / "alerts.toml"
BURST = '\n[[rule]]\nname = "burst"\nmetric = "attempts"\nwindow = "5m"\nabove = 150\n'
DAY = 24 * HOUR

FALLING, SILENT, SHORT, CAMPAIGN, OTHERS = "+912243600001", "+912243600002", "+912243600003", "+912243600004", 40


def test_an_hour_of_normal_traffic_over_200_dids_rings_nothing() -> None:
    """After an hour that fills the windows, at three calls a second: over a hundred an hour for a score of DIDs."""
    rng, begin = Random(5), 1_790_000_000_000 // HOUR * HOUR
    run = Run(EXAMPLE.read_text(encoding="utf-8"), WINDOWS)
    flows = scenarios.normal(rng, did_numbers(200), begin, begin + 2 * HOUR, rate=3)
    for number, record in enumerate(sorted(flows, key=lambda record: int(record["occurred_at"]))):
        run.add(record)
        if number % 500 == 0:
            run.flush(record["occurred_at"])
    run.flush(begin + 2 * HOUR)
    assert [told.as_dict(alert) for alert in run.alerts] == []
    assert len({record["did"] for record in flows}) >= 150


def story(end: int) -> list[Record]:
    """A day and its last four hours, up to `end`: four DIDs of which each has its story, and others that have none.

    Each story draws from a source of its own. Only the silent one's length hangs on the time of the day (silence is
    told by the hour): with one source for all, the short calls of every tenth minute of the clock rang twice.
    """
    begin = end - 4 * HOUR
    falls, opens = begin + 5 * HOUR // 4, (begin - HOUR) // HOUR * HOUR
    falling, silent, short, campaign = Random(8), Random(9), Random(10), Random(11)
    flows = [
        *scenarios.normal(Random(12), did_numbers(OTHERS), begin, end, rate=0.15),
        *scenarios.outbound(falling, FALLING, scenarios.every(falling, begin, falls, 6), answered=0.6),
        *scenarios.outbound(falling, FALLING, scenarios.every(falling, falls, end, 6), answered=0.4),
        # as yesterday, but for an hour and a half in between
        *scenarios.outbound(silent, SILENT, scenarios.every(silent, opens - DAY, end - DAY, 45), answered=0.4),
        *scenarios.outbound(silent, SILENT, scenarios.every(silent, opens, begin + HOUR, 45), answered=0.4),
        *scenarios.outbound(silent, SILENT, scenarios.every(silent, end - HOUR // 2, end, 45), answered=0.4),
        *scenarios.outbound(short, SHORT, scenarios.every(short, begin, end, 60), answered=0.9, short=0.6),
        *scenarios.outbound(
            campaign, CAMPAIGN, scenarios.every(campaign, begin + HOUR, begin + HOUR + 3000, 0.01), answered=0.4
        ),
    ]
    return sorted(flows, key=lambda record: int(record["occurred_at"]))


def expected(flows: list[Record], rules: str, end: int) -> list[Record]:
    """What one table tells of each partition, undisturbed."""
    run = Run(rules, WINDOWS)
    for record in flows:
        run.add(record)
    run.flush(end)
    return [told.as_dict(alert) for alert in run.alerts]


def in_order(alerts: list[Record], end: int) -> list[tuple[str, str, str]]:
    """Rule, DID and state of the alerts up to `end`, by DID and time."""
    told_ = sorted((a["did"], a["as_of"], a["rule"], a["state"]) for a in alerts if a["as_of"] <= end)
    return [(rule, did, state) for did, _, rule, state in told_]


RINGS = [
    ("answer rate dropped", FALLING, "FIRING"),
    ("answer rate dropped", FALLING, "RESOLVED"),
    ("silent", SILENT, "FIRING"),
    ("silent", SILENT, "RESOLVED"),
    ("short calls", SHORT, "FIRING"),
    ("burst", CAMPAIGN, "FIRING"),
    ("burst", CAMPAIGN, "RESOLVED"),
]


@pytest.mark.broker
@pytest.mark.slow
def test_each_story_rings_once_whatever_is_killed(
    kafka: Broker, prefix: str, process: Processes, tmp_path: Path
) -> None:
    """Two workers, killed in turn while the flows come; the episodes on the topic are those of an undisturbed table."""
    topic = FlowTopic(kafka.bootstrap_servers, prefix)
    topic.create()
    rules = tmp_path / "rules.toml"
    rules.write_text(EXAMPLE.read_text(encoding="utf-8") + BURST, encoding="utf-8")
    end = (time.time_ns() // 1_000_000 - 10 * MINUTE) // MINUTE * MINUTE
    flows = story(end)
    workers = Workers(process, topic, tmp_path, PHONON_ALERT_RULES=str(rules))
    workers.start(0)
    workers.start(1)
    kills = 0
    for number in range(0, len(flows), len(flows) // 6):
        for record in flows[number : number + len(flows) // 6]:
            topic.put(record["did"].encode(), encode("Flow", record))
        topic.flush()
        eventually(lambda: any(workers.figure(n, "phonon_flows_total") > 0 for n in workers.running), 30)
        time.sleep(0.3)
        if kills < 4:
            workers.running.pop(kills % 2).kill()
            workers.start(kills % 2)
            kills += 1
    topic.sent += flows
    workers.wait_idle()
    alerts = [record for _, record in topic.read("DidAlert")]
    assert in_order(alerts, end) == RINGS
    for did in (FALLING, SILENT, SHORT, CAMPAIGN):
        undisturbed = expected([flow for flow in flows if flow["did"] == did], rules.read_text(encoding="utf-8"), end)
        found = [alert for alert in alerts if alert["did"] == did and alert["as_of"] <= end]
        for one, other in zip(found, undisturbed, strict=False):
            # while a worker is down its clock goes on, and a minute may be over before its last flows are counted
            assert abs(one["since"] - other["since"]) <= 2 * MINUTE
            assert abs(one["as_of"] - other["as_of"]) <= 2 * MINUTE
            assert one["n"] == pytest.approx(other["n"], rel=0.05)
    assert len({(alert["alert_id"], alert["state"]) for alert in alerts}) == len(alerts)
    assert topic.wrong() == []
    for child in workers.running.values():
        child.signal(signal.SIGTERM)
    eventually(lambda: all(child.returncode == 0 for child in workers.running.values()), 8)


def test_rules_that_are_wrong_are_one_line_and_exit_code_2(process: Processes, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nname = "x"\nmetric = "attempt"\nwindow = "5m"\nabove = 1\n', "utf-8-sig")
    missing = tmp_path / "none.toml"
    lines = {
        rules: f"settings: PHONON_ALERT_RULES: {rules}, line 3, column 1: WindowMetrics has no 'attempt'\n",
        missing: f"settings: PHONON_ALERT_RULES: cannot read '{missing}' (No such file or directory)\n",
    }
    for path, line in lines.items():
        child = process("metrics", settings={"PHONON_ALERT_RULES": str(path)})
        eventually(lambda child=child: child.returncode is not None, 15)  # type: ignore[misc]
        assert (child.returncode, child.output) == (2, line)


def test_the_example_is_a_good_rules_file() -> None:
    assert len(read_rules(EXAMPLE.read_text(encoding="utf-8"), WINDOWS).rules) == 5
