"""What operators look at: rules that fire when they should, panels and rules that name what exists, a real Prometheus.

Prometheus and promtool come from Debian's package `prometheus`; without them the tests that need them are skipped, or
fail where CI requires brokers.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import promql_parser
import pytest
from ruamel.yaml import YAML

from app.demo.broker import Broker
from app.demo.ports import answers, free_port
from app.metrics import METRICS
from app.notify import measures as of_notify
from app.topics import create_topics
from deploy.documents.grafana import panels
from schemas.settings import read_settings
from streams.measures import REGISTRY
from tests.conftest import without_broker
from tests.patience import eventually
from tests.processes import Processes

ROOT = Path(__file__).parent.parent
PROMETHEUS = ROOT / "deploy/prometheus"
SAMPLE = (Path(__file__).parent / "deliveries" / "sample.json").read_bytes()
SEVERITIES = {"page", "ticket"}
OF_PROMETHEUS = {"up"}


def yaml(path: Path) -> Any:
    """Read a YAML file."""
    return YAML(typ="safe").load(path)


RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml(PROMETHEUS / "rules.yml")["groups"] for rule in group["rules"]
}


def tool(name: str) -> str:
    """The path of a program of Debian's package `prometheus`."""
    found = shutil.which(name)
    if found is None:
        without_broker(f"{name} is not there: apt-get install prometheus", os.environ)
    return found


def promtool(*arguments: str) -> str:
    """What promtool complains about, empty if nothing."""
    done = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, cwd=PROMETHEUS)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def series() -> dict[str, set[str]]:
    """Every series that the programs expose -> its labels."""
    known = {(metric.name, metric.type, metric.labels) for metric in METRICS}
    for collector in (*REGISTRY._collector_to_names, *of_notify.REGISTRY._collector_to_names):
        described = next(iter(collector.describe()))  # type: ignore[attr-defined]
        name = described.name + ("_total" if described.type == "counter" else "")
        known.add((name, described.type, collector._labelnames))  # type: ignore[attr-defined]
    found: dict[str, set[str]] = {}
    for name, kind, labels in known:
        endings = {"_bucket": {"le"}, "_sum": set(), "_count": set()} if kind == "histogram" else {"": set()}
        for ending, extra in endings.items():
            found.setdefault(name + ending, set()).update(labels, extra)
    return found


def named(expression: str) -> tuple[set[str], set[str]]:
    """The series and the labels that an expression names."""
    names: set[str] = set()
    labels: set[str] = set()

    def look(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            names.add(str(node.name))
            labels.update(matcher.name for matcher in node.matchers.matchers)
        for child in ("vector_selector", "expr", "lhs", "rhs"):
            if hasattr(node, child):
                look(getattr(node, child))
        for argument in getattr(node, "args", []):
            look(argument)
        modifier = getattr(node, "modifier", None)
        labels.update(getattr(getattr(modifier, "matching", None) or modifier, "labels", []))

    look(promql_parser.parse(expression.replace("$__rate_interval", "5m")))
    return names, labels


def expressions() -> Iterator[tuple[str, str]]:
    """Where each expression stands, and the expression."""
    yield from ((name, rule["expr"]) for name, rule in RULES.items())
    yield from ((panel.title, expression) for panel in panels() for expression, _ in panel.queries)


def test_every_rule_and_panel_names_what_the_programs_expose() -> None:
    known = series()
    for place, expression in expressions():
        names, labels = named(expression)
        assert names, place
        assert names - OF_PROMETHEUS <= known.keys(), place
        assert labels <= {"job", "instance"}.union(*(known.get(name, set()) for name in names)), place


def test_only_counters_have_rates() -> None:
    rated = r"(?:rate|increase)\((\w+)"
    counting = {name for place, expression in expressions() for name in re.findall(rated, expression)}
    assert counting
    assert {name for name in counting if not re.search("_(total|bucket|count|sum)$", name)} == set()


def test_every_metric_is_in_a_panel() -> None:
    shown = set().union(*(named(expression)[0] for panel in panels() for expression, _ in panel.queries))
    bases = {re.sub("_(bucket|sum|count)$", "", name) for name in series()}
    assert bases - {re.sub("_bucket$", "", name) for name in shown} == set()


def test_what_is_named_can_be_missing() -> None:
    assert named('sum by (a) (rate(x_total{b="1"}[5m])) / on (c) y') == ({"x_total", "y"}, set("abc"))


def test_prometheus_own_tool_takes_rules_and_configuration() -> None:
    assert promtool("check", "rules", "rules.yml") == ""
    assert promtool("check", "config", "prometheus.yml") == ""


def test_every_rule_fires_when_it_should_and_is_silent_otherwise() -> None:
    assert promtool("test", "rules", "rules.test.yml") == ""
    cases = [case for test in yaml(PROMETHEUS / "rules.test.yml")["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == RULES.keys()
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == RULES.keys()


@pytest.mark.parametrize("name", RULES)
def test_every_rule_says_how_urgent_it_is_and_what_to_do(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
    (section,) = re.findall(rf"(?m)^## {name}\n\n\*(\w+)\.\* ", (ROOT / "docs/runbook.md").read_text())
    assert section.lower() == rule["labels"]["severity"]


def test_the_runbook_knows_no_other_alerts() -> None:
    assert set(re.findall(r"(?m)^## (\w+)$", (ROOT / "docs/runbook.md").read_text())) == RULES.keys()


class Prometheus:
    """A real Prometheus with our configuration, whose targets are on loopback."""

    def __init__(self, process: Processes, folder: Path, targets: dict[str, int]) -> None:
        self.port = free_port()
        configuration = yaml(PROMETHEUS / "prometheus.yml")
        configuration["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        for job in configuration["scrape_configs"]:
            del job["dns_sd_configs"]
            job["static_configs"] = [{"targets": [f"127.0.0.1:{targets[job['job_name']]}"]}]
        shutil.copy(PROMETHEUS / "rules.yml", folder)
        YAML().dump(configuration, folder / "prometheus.yml")
        command = [tool("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        child = process.command([*command, f"--web.listen-address=127.0.0.1:{self.port}"])
        child.wait_until(lambda: answers(f"http://127.0.0.1:{self.port}/-/ready"), within_seconds=20)

    def get(self, path: str, **parameters: str) -> Any:
        """What its API answers."""
        with urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(parameters)}", timeout=5) as answer:
            return json.load(answer)["data"]

    def value(self, expression: str) -> float | None:
        """The value of an expression that has one."""
        result = self.get("query", query=expression)["result"]
        return float(result[0]["value"][1]) if result else None

    def has(self, expression: str) -> bool:
        """Whether there is anything to draw for a panel's expression."""
        return bool(self.get("query", query=expression.replace("$__rate_interval", "20s"))["result"])

    def alerts(self) -> set[str]:
        """The names of the alerts that fire, or will if nothing changes."""
        return {alert["labels"]["alertname"] for alert in self.get("alerts")["alerts"]}


def silent_panels(prometheus: Prometheus) -> set[str]:
    """The panels that have nothing to show."""
    return {place for place, expression in expressions() if place not in RULES and not prometheus.has(expression)}


@pytest.mark.broker
def test_a_real_prometheus_sees_what_happens(process: Processes, kafka: Broker, prefix: str, tmp_path: Path) -> None:
    """A receiver of two workers, a metrics worker, notify: every delivery is counted, every series there, no alarm."""
    tool("prometheus")
    targets = {"receiver": free_port(), "metrics": free_port(), "notify": free_port()}
    webhook = free_port()
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "PHONON_TOPIC_PREFIX": prefix,
        "PHONON_TOPIC_PARTITIONS": "2",
        "PHONON_PORT": str(webhook),
        "PHONON_ALERT_WEBHOOK_URL": "http://127.0.0.1/",
    }
    create_topics(read_settings(settings))
    process("notify", settings=settings | {"PHONON_MANAGEMENT_PORT": str(targets["notify"])})
    process("serve", "--workers", "2", settings=settings | {"PHONON_MANAGEMENT_PORT": str(targets["receiver"])})
    worker = process("metrics", settings=settings | {"PHONON_MANAGEMENT_PORT": str(targets["metrics"])})
    for port in targets.values():
        eventually(lambda port=port: answers(f"http://127.0.0.1:{port}/readyz"))  # type: ignore[misc]
    prometheus = Prometheus(process, tmp_path, targets)
    sent = 30
    for _ in range(sent):
        with urlopen(f"http://127.0.0.1:{webhook}/webhooks/phonon", SAMPLE, timeout=10) as answer:
            assert answer.status == 200

    eventually(lambda: prometheus.value("phonon_answer_seconds_count") == sent)  # what a delivery counts last
    eventually(lambda: prometheus.value("phonon_flows_total + phonon_flows_duplicate_total") == sent)
    assert prometheus.value("sum(phonon_deliveries_total)") == sent
    assert prometheus.value('phonon_deliveries_total{job="receiver",status="200"}') == sent
    assert prometheus.value('sum(phonon_events_total{topic=~".+[.]flow[.]v1"})') == sent
    assert prometheus.value("phonon_flows_total") == 1
    assert prometheus.value("phonon_dids") == 1
    assert prometheus.value('sum by (state) (phonon_partitions{state="live"})') == 2
    eventually(lambda: prometheus.value("min(phonon_ready)") == 1)
    assert prometheus.value("min(up)") == prometheus.value("phonon_kafka_healthy") == 1
    eventually(lambda: [target["health"] for target in prometheus.get("targets")["activeTargets"]] == ["up"] * 3)
    eventually(lambda: prometheus.alerts() == set())
    there = set(prometheus.get("label/__name__/values"))
    absent = {name for name in series() if name not in there}
    assert absent == {"phonon_rejected_total", "phonon_failures_total"}, "only what has not happened may be absent"
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule["health"] for rule in rules} == dict.fromkeys(RULES, "ok")
    nothing_happened = {"Rejected parts by reason", "Errors in our own code"}
    eventually(lambda: silent_panels(prometheus) == nothing_happened)  # a rate needs two scrapes
    worker.stop()
    eventually(lambda: prometheus.alerts() == {"MetricsWorkerDown", "NoMetricsWorker"})
