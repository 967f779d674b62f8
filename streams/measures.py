"""Every figure that /metrics shows, once: name, type, unit. No label is ever a DID, a number or content."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY: Final = CollectorRegistry()

READY: Final = Gauge("phonon_ready", "1 while this worker counts, 0 where /readyz says why not", registry=REGISTRY)
FLOWS: Final = Counter("phonon_flows", "Flow records counted", registry=REGISTRY)
LATE: Final = Counter("phonon_flows_late", "Flow records too old for the largest window, left out", registry=REGISTRY)
DUPLICATE: Final = Counter("phonon_flows_duplicate", "Flow records counted before, left out", registry=REGISTRY)
REJECTED: Final = Counter("phonon_records_rejected", "Records that are no flow records, set aside", registry=REGISTRY)
EXPIRED: Final = Counter(
    "phonon_records_expired", "Records that Kafka deleted before they were read", registry=REGISTRY
)
REREAD: Final = Counter("phonon_gaps_reread", "Gaps between fetched records, read again", registry=REGISTRY)
EMITTED: Final = Counter("phonon_did_metrics_written", "DidMetrics records written", registry=REGISTRY)
ALERTS: Final = Counter("phonon_alerts", "DidAlert records written, by state", ["state"], registry=REGISTRY)
for _state in ("FIRING", "RESOLVED"):
    ALERTS.labels(_state)  # 0 until there is one
ALERTS_FIRING: Final = Gauge("phonon_alerts_firing", "Alerts that have begun and are not over", registry=REGISTRY)
GROUPS: Final = Gauge("phonon_groups", "Groups that this worker adds up; 0 where another does", registry=REGISTRY)
GROUPS_WRITTEN: Final = Counter("phonon_group_metrics_written", "Records of groups written", registry=REGISTRY)
GROUPS_REFUSED: Final = Gauge(
    "phonon_groups_file_refused", "1 while the groups' file can't be used and an older version holds", registry=REGISTRY
)
LOST: Final = Counter(
    "phonon_partitions_lost", "Times a partition's state was dropped and read anew", registry=REGISTRY
)
FLUSH: Final = Histogram("phonon_flush_seconds", "Time a transaction of state and metrics took", registry=REGISTRY)
EMISSION_DELAY: Final = Gauge(
    "phonon_emission_delay_seconds", "Time from Kafka's timestamp of the last record counted to its flush",
    ["partition"], registry=REGISTRY,
)  # fmt: skip
LAG_RECORDS: Final = Gauge(
    "phonon_lag_records", "Records of a partition not counted yet", ["partition"], registry=REGISTRY
)
LAG_SECONDS: Final = Gauge(
    "phonon_lag_seconds", "Age of the last record counted while others wait, else 0", ["partition"], registry=REGISTRY
)
PARTITIONS: Final = Gauge("phonon_partitions", "Partitions this worker holds", ["state"], registry=REGISTRY)
DIDS: Final = Gauge("phonon_dids", "DIDs held", registry=REGISTRY)
BUCKETS: Final = Gauge("phonon_buckets", "DID minutes held", registry=REGISTRY)
WAITING: Final = Gauge("phonon_dids_waiting", "DIDs whose metrics are to be written", registry=REGISTRY)
CLOCK_AHEAD: Final = Gauge(
    "phonon_clock_ahead_seconds",
    "How far the clock of a partition is ahead of this machine's, else 0",
    registry=REGISTRY,
)
RECOVERED: Final = Gauge(
    "phonon_recovery_ratio", "Part of the state read: 1 once a partition is live", ["partition"], registry=REGISTRY
)
