"""The list of metrics is what is exposed, with closed labels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app import workers
from app.metrics import METRICS, ON_SCRAPE, Metrics
from app.openapi import MEANINGS
from app.workers import DIRECTORY


def families(metrics: Metrics) -> dict[str, str]:
    on_scrape = {metric.name: 0.0 for metric in METRICS if metric.name.startswith(ON_SCRAPE)}
    text = metrics.exposition(on_scrape).decode()
    return {family.name: family.type for family in text_string_to_metric_families(text)}


def test_the_list_is_what_is_exposed() -> None:
    expected = {metric.name.removesuffix("_total"): metric.type for metric in METRICS}
    assert families(Metrics()) == expected


def test_every_metric_says_what_it_is() -> None:
    assert all(metric.help.endswith(".") and metric.name.startswith("phonon_") for metric in METRICS)
    assert all(metric.name.endswith("_total") is (metric.type == "counter") for metric in METRICS)


def test_counting() -> None:
    metrics = Metrics()
    metrics.count("phonon_deliveries_total", "200")
    metrics.count("phonon_deliveries_total", "200", 2)
    metrics.count("phonon_spooled_total")
    assert metrics.registry.get_sample_value("phonon_spooled_total") == 0
    metrics.bring_over()
    metrics.bring_over()
    assert metrics.registry.get_sample_value("phonon_deliveries_total", {"status": "200"}) == 3
    assert metrics.registry.get_sample_value("phonon_spooled_total") == 1
    assert set(map(str, MEANINGS)) >= {"200"}


def test_an_anomaly_that_is_none_of_ours_is_other() -> None:
    metrics = Metrics()
    metrics.anomalies(["duration:mismatch", "+912243692987:odd", "x" * 200])
    metrics.bring_over()
    assert metrics.registry.get_sample_value("phonon_anomalies_total", {"kind": "duration:mismatch"}) == 1
    assert metrics.registry.get_sample_value("phonon_anomalies_total", {"kind": "other"}) == 2


#: A worker that counts, and shows what all have counted.
COUNTS = """
from app.metrics import Metrics
metrics = Metrics()
metrics.count("phonon_spooled_total")
metrics.bring_over()
print(metrics.exposition({}).decode())
"""


def test_a_file_that_a_worker_left_empty_spoils_nothing(tmp_path: Path) -> None:
    """It is made empty first: whoever is killed then, or finds the disk full, leaves it so for ever."""
    for name in ("counter_999999990.db", "gauge_livesum_999999990.db", f"histogram_{os.getpid()}.db"):
        (tmp_path / name).touch()
    environment = os.environ | {DIRECTORY: str(tmp_path)}
    shown = subprocess.run([sys.executable, "-c", COUNTS], env=environment, capture_output=True, text=True, check=False)
    assert "phonon_spooled_total 1.0" in shown.stdout, shown.stderr


@pytest.mark.parametrize("memory", [True, False])
def test_workers_count_in_memory_where_they_can(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, memory: bool) -> None:
    """A full disk killed each that began to count, and whoever was started in its place."""
    monkeypatch.setattr(workers, "MEMORY", str(tmp_path if memory else tmp_path / "nowhere"))
    with workers._shared_metrics():
        folder = Path(os.environ[DIRECTORY])
        assert (folder.parent == tmp_path) is memory
    assert not folder.exists()
    assert DIRECTORY not in os.environ
