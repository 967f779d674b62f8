"""The whole path on a real Kafka, by the programs a user starts, watched only through their output.

Nothing of app or streams is imported, but for free ports: deliveries and what they must become come from `send
--synthetic --output --expected`, records from `tail`, and the metrics are recounted by tests/recount.py.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.demo.ports import free_port
from tests import recount
from tests.patience import eventually
from tests.processes import Processes, run_command

pytestmark = pytest.mark.broker

DELIVERIES = int(os.environ.get("END_TO_END_DELIVERIES", "3000"))
DIDS = 40
SAMPLE = Path(__file__).parent / "deliveries" / "sample.json"
SAMPLE_DID = "+912243692987"
REST_SECONDS = 2.5  # a DID is written at most once a second
PATIENCE_SECONDS = 90.0

Record = Mapping[str, Any]


@dataclass
class Site:
    """One installation of ours: its settings, and the commands run with them."""

    directory: Path
    settings: dict[str, str]
    process: Processes

    def run(self, *arguments: str) -> str:
        """What a command prints; it must end with code 0."""
        done = run_command(*arguments, settings=self.settings, folder=self.directory, within_seconds=PATIENCE_SECONDS)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return done.stdout

    def delivered(self) -> None:
        """Wait until nothing is in the spool: what was answered 202 need not be on any topic before."""
        eventually(lambda: not list((self.directory / "spool").glob("*.spool")), PATIENCE_SECONDS)

    def records(self, *topics: str) -> list[Record]:
        """All that the topics hold now."""
        return [json.loads(line) for line in self.run("tail", *topics, "--from-beginning", "--no-follow").splitlines()]

    def metrics(self) -> dict[str, Record]:
        """The last record of every DID."""
        return {record["key"]: record["value"] for record in self.records("did-metrics") if record["value"]}

    def rested_metrics(self, flows: list[Record]) -> dict[str, Record]:
        """The same, once nothing new has come for a while; on a slow machine a while may have to be longer."""
        deadline, before = time.monotonic() + PATIENCE_SECONDS, self.metrics()
        while time.monotonic() < deadline:
            time.sleep(REST_SECONDS)
            after = self.metrics()
            if after and after == before and not wrong(after, flows):
                return after
            before = after
        return before


@pytest.fixture
def site(kafka: Any, prefix: str, process: Processes, tmp_path: Path) -> Site:
    """Topics made, a receiver and a metrics worker running."""
    port, management, worker = (str(free_port()) for _ in range(3))
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "PHONON_TOPIC_PREFIX": prefix,
        "PHONON_PORT": port,
        "PHONON_MANAGEMENT_PORT": management,
        "PHONON_LOG_LEVEL": "warning",
        "PHONON_SIGNING_SECRET": "whsec_ZW5kIHRvIGVuZCB0ZXN0cyBvbmx5",
        "PHONON_PSEUDONYM_KEY": "end to end tests only",
    }
    place = Site(tmp_path, settings, process)
    place.run("topics", "create")
    process("serve", settings=settings, ready=f"http://127.0.0.1:{management}/readyz")
    of_worker = settings | {"PHONON_MANAGEMENT_PORT": worker}
    process("metrics", settings=of_worker, ready=f"http://127.0.0.1:{worker}/readyz", within_seconds=40)
    return place


def test_the_providers_sample_becomes_its_eight_events_and_one_attempt(site: Site) -> None:
    site.run("send", str(SAMPLE))
    site.delivered()
    eventually(lambda: site.records("did-metrics"), PATIENCE_SECONDS)
    records = site.records()
    events = Counter(record["record"] for record in records)
    metrics = events.pop("DidMetrics")
    assert metrics >= 1
    assert events == {"CallLeg": 2, "Dtmf": 1, "Sms": 1, "Email": 1, "FlowKey": 1, "Recording": 1, "Flow": 1}
    assert {record["key"] for record in records} == {SAMPLE_DID}
    flows = [record["value"] for record in records if record["record"] == "Flow"]
    windows = site.rested_metrics(flows)[SAMPLE_DID]["windows"]
    assert [(window["name"], window["attempts"]) for window in windows] == [("5m", 1), ("1h", 1), ("24h", 1)]


def test_thousands_of_deliveries_with_duplicates_become_exactly_their_events_and_metrics(site: Site) -> None:
    traffic, expected = site.directory / "traffic.jsonl", site.directory / "expected.jsonl"
    options = ("--dids", str(DIDS), "--duplicates", "0.03", "--rough", "--span", "100000", "--seed", "20")
    site.run("send", "--synthetic", str(DELIVERIES), *options, "--output", str(traffic), "--expected", str(expected))
    site.run("send", str(traffic), "--concurrency", "64")
    site.delivered()

    records = site.records()
    found, wanted = events_of(records), expected_events(expected)
    assert (list((wanted - found).elements())[:2], list((found - wanted).elements())[:2]) == ([], [])

    flows = [record["value"] for record in records if record["record"] == "Flow"]
    duplicated = len(flows) - len(recount.distinct(flows))
    assert duplicated > 0.015 * DELIVERIES

    metrics = site.rested_metrics(flows)
    dids = {flow["did"] for flow in flows}
    assert len(dids) > DIDS * 0.9 or DELIVERIES < 1000
    assert wrong(metrics, flows) == {}
    longest = [record["windows"][-1] for record in metrics.values()]
    assert sum(window["flows"] for window in longest) > DELIVERIES / 2
    assert sum(window["callers"] for window in longest) > DELIVERIES / 4
    assert any(node["path"].count(">") == 2 for window in longest for node in window["menu"]) or DELIVERIES < 1000
    assert max(window["peak_legs"] for window in longest) > 1


def wrong(metrics: Mapping[str, Record], flows: list[Record]) -> dict[str, Any]:
    """The DIDs whose last record is not what a recount gives at its own as_of."""
    latest = max(record["as_of"] for record in metrics.values())
    absent = {flow["did"] for flow in flows} - set(metrics)
    unseen = {did: "no record" for did in absent if recount.recount(flows, did, latest)[-1]["flows"]}
    return unseen | {
        did: record
        for did, record in metrics.items()
        if record["did"] != did or record["windows"] != recount.recount(flows, did, record["as_of"])
    }


def events_of(records: list[Record]) -> Counter[str]:
    """Each event once, by its id, without what only the receiver knows."""
    ours = [(record["record"], record["value"]) for record in records if record["record"] != "DidMetrics"]
    derived = {v["flow_id"] for _, v in ours if "phonon-uuid:missing" in v.get("anomalies", ())}
    events: dict[str, str] = {}
    for name, value in ours:
        fields = value | {"flow_id": None if value["flow_id"] in derived else value["flow_id"]}
        if name == "Rejected":
            event_id = json.dumps([value[part] for part in ("flow_id", "section", "index")])
            fields = {part: fields[part] for part in ("flow_id", "section", "index")}
        else:
            event_id = fields.pop("event_id")
            fields["occurred_at"] = None if value["occurred_at"] == value["received_at"] else value["occurred_at"]
            del fields["received_at"]
            fields.pop("caller", None)
        events[event_id] = comparable(name, fields)
    return Counter(events.values())


def expected_events(file: Path) -> Counter[str]:
    """What the provider says must come, each delivery once."""
    deliveries = map(json.loads, file.read_text("utf-8").splitlines())
    return Counter(
        comparable(expected["record"], {name: value for name, value in expected["fields"].items() if name != "caller"})
        for delivery in deliveries
        if not delivery["duplicate"]
        for expected in delivery["records"]
    )


def comparable(record: str, fields: Record) -> str:
    tidy = {name: sorted(value) if name == "anomalies" else value for name, value in fields.items()}
    return f"{record} {json.dumps(tidy, sort_keys=True)}"
