"""Every metric of the receiver, listed once: name, type, labels, help with its unit.

A test holds the README's table to this list. Labels come from closed sets (statuses, topics, kinds), never from what
was sent. With several workers each process writes files in PROMETHEUS_MULTIPROC_DIR and any of them can answer for all;
what belongs to the host as a whole (the spool) is measured when asked.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from app.pipeline import Made
from app.workers import DIRECTORY

SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
KIND: Final = re.compile(r"[A-Za-z_-]{1,40}:[a-z_]{1,20}", re.ASCII)

Mode = Literal["livesum", "livemin"]


class Metric(NamedTuple):
    """One metric. `mode` says how a gauge's values of several workers become one."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    mode: Mode = "livesum"


METRICS: Final = (
    Metric(
        "phonon_deliveries_total", "counter", "Deliveries by HTTP status; gone: the sender disconnected.", ("status",)
    ),
    Metric("phonon_events_total", "counter", "Events acknowledged by Kafka, by topic.", ("topic",)),
    Metric("phonon_rejected_total", "counter", "Parts of deliveries that could not be read, by reason.", ("reason",)),
    Metric("phonon_anomalies_total", "counter", "Anomalies found while reading, by kind.", ("kind",)),
    Metric("phonon_acknowledge_seconds", "histogram", "Seconds from the first produce to the last acknowledgement."),
    Metric("phonon_answer_seconds", "histogram", "Seconds from the request's headers to its answer."),
    Metric("phonon_in_flight", "gauge", "Deliveries in flight."),
    Metric(
        "phonon_ready", "gauge", "1 while a delivery would be stored durably (minimum of all processes).", (), "livemin"
    ),
    Metric(
        "phonon_failures_total",
        "counter",
        "Errors in the receiver's own code; the delivery was spooled or refused.",
        ("where",),
    ),
    Metric("phonon_spooled_total", "counter", "Deliveries written to the spool."),
    Metric("phonon_drained_total", "counter", "Spooled deliveries published."),
    Metric("phonon_set_aside_total", "counter", "Spooled rows that could not be published or read, moved to aside/."),
    Metric("phonon_refused_kept_total", "counter", "Bodies answered 400, 413 or 422 and kept in refused/."),
    Metric(
        "phonon_kafka_healthy", "gauge", "1 while deliveries go to Kafka (minimum of all processes).", (), "livemin"
    ),
    Metric("phonon_kafka_queue_messages", "gauge", "Messages in librdkafka's queue."),
    Metric("phonon_kafka_queue_bytes", "gauge", "Bytes in librdkafka's queue."),
    Metric(
        "phonon_kafka_brokers_up",
        "gauge",
        "Brokers that librdkafka is connected to (minimum of all processes).",
        (),
        "livemin",
    ),
    Metric("phonon_spool_rows", "gauge", "Deliveries waiting in the spool."),
    Metric("phonon_spool_bytes", "gauge", "Bytes of the bodies waiting in the spool."),
    Metric("phonon_spool_oldest_age_seconds", "gauge", "Seconds since the oldest waiting delivery was received."),
    Metric("phonon_spool_set_aside", "gauge", "Files in the spool's aside/ folder."),
    Metric("phonon_spool_disk_bytes", "gauge", "Bytes of disk that the spool takes."),
    Metric("phonon_spool_limit_bytes", "gauge", "Bytes of disk that the spool may take; beyond them 507."),
    Metric("phonon_spool_writable", "gauge", "1 while the spool can take a delivery; checked at least every 30 s."),
)
#: Measured when asked, once for the host: not kept by the workers.
ON_SCRAPE: Final = "phonon_spool_"
BY_NAME: Final = {metric.name: metric for metric in METRICS}


class Metrics:
    """The metrics of one process. Counts are gathered in a dict, and brought over once a second and when asked for.

    One delivery counts a dozen things, and a counter that several threads and processes share costs 1 to 3 µs each.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        kept = (metric for metric in METRICS if not _on_scrape(metric))
        self._parents: dict[str, Any] = {metric.name: _made(metric, self.registry) for metric in kept}
        self._gathered: dict[tuple[str, str], float] = defaultdict(float)

    def count(self, name: str, label: str = "", by: float = 1) -> None:
        """Add to a counter."""
        self._gathered[name, label] += by

    def bring_over(self) -> None:
        """Make the counts gathered so far visible, whichever process is asked for them. On the loop's thread."""
        while self._gathered:
            (name, label), by = self._gathered.popitem()
            parent = self._parents[name]
            (parent.labels(label) if label else parent).inc(by)

    def observe(self, name: str, seconds: float) -> None:
        """Add to a histogram."""
        self._parents[name].observe(seconds)

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._parents[name].set(value)

    def anomalies(self, kinds: Iterable[str]) -> None:
        """Count anomalies; what does not look like one of our kinds counts as other."""
        for kind in kinds:
            self.count("phonon_anomalies_total", kind if KIND.fullmatch(kind) else "other")

    def published(self, made: Made) -> None:
        """Count what is in Kafka now."""
        gathered = self._gathered
        for record in made.records:
            gathered["phonon_events_total", record.topic] += 1
        for part in made.split.rejected:
            self.count("phonon_rejected_total", part.reason)
        for event in made.split.events:
            if event.anomalies:
                self.anomalies(event.anomalies)

    def exposition(self, on_scrape: dict[str, float]) -> bytes:
        """All metrics of all workers as Prometheus text."""
        folder = os.environ.get(DIRECTORY)
        registry = self.registry
        if folder:
            _forget_dead(Path(folder))
            registry = CollectorRegistry()
            _Files(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry) + _lines(on_scrape)


class _Files(MultiProcessCollector):
    """The workers' files without empty ones: just made, or left by a worker that was killed then, or by a full disk.

    One of these makes prometheus_client fail on all of them until the receiver is started again (its issue 1199).
    """

    def collect(self) -> Any:
        """All metrics in them."""
        files = [str(path) for path in Path(os.environ[DIRECTORY]).glob("*.db") if _holds_any(path)]
        return self.merge(files, accumulate=True)  # type: ignore[no-untyped-call]


def _holds_any(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:  # forgotten meanwhile by another worker that was asked
        return False


def _on_scrape(metric: Metric) -> bool:
    return metric.name.startswith(ON_SCRAPE)


def _made(metric: Metric, registry: CollectorRegistry) -> "Counter | Gauge | Histogram":
    name, help_, labels = metric.name, metric.help, metric.labels
    if metric.type == "counter":
        return Counter(name, help_, labels, registry=registry)
    if metric.type == "histogram":
        return Histogram(name, help_, labels, registry=registry, buckets=SECONDS)
    return Gauge(name, help_, labels, registry=registry, multiprocess_mode=metric.mode)


def _lines(values: dict[str, float]) -> bytes:
    """Gauges in the text format, without a registry: files of several processes can't hold them."""
    lines = (f"# HELP {n} {BY_NAME[n].help}\n# TYPE {n} {BY_NAME[n].type}\n{n} {v}\n" for n, v in values.items())
    return "".join(lines).encode()


def _forget_dead(folder: Path) -> None:
    """Gauges of workers that are gone (killed ones can't say so themselves)."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = int(path.stem.rsplit("_", 1)[1])
        if not Path(f"/proc/{pid}").exists() and Path("/proc").exists():
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
