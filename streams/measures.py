"""Every figure that /metrics shows, once: name, type, unit. No label is ever a DID, a number or content."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY: Final = CollectorRegistry()

READY: Final = Gauge("phonon_ready", "1 while this worker is counting, else 0 (/readyz says why)", registry=REGISTRY)
FLOWS: Final = Counter("phonon_flows", "Flow records counted", registry=REGISTRY)
LATE: Final = Counter("phonon_flows_late", "Flow records left out: too old for the largest window", registry=REGISTRY)
DUPLICATE: Final = Counter("phonon_flows_duplicate", "Flow records left out: already counted", registry=REGISTRY)
REJECTED: Final = Counter(
    "phonon_records_rejected", "Records that are not flow records, sent to rejected", registry=REGISTRY
)
EXPIRED: Final = Counter(
    "phonon_records_expired", "Records that Kafka deleted before they were read", registry=REGISTRY
)
REREAD: Final = Counter("phonon_gaps_reread", "Gaps between fetched records that were read again", registry=REGISTRY)
EMITTED: Final = Counter("phonon_did_metrics_written", "DidMetrics records written", registry=REGISTRY)
ALERTS: Final = Counter("phonon_alerts", "DidAlert records written, by state", ["state"], registry=REGISTRY)
for _state in ("FIRING", "RESOLVED"):
    ALERTS.labels(_state)  # 0 until there is one
ALERTS_FIRING: Final = Gauge("phonon_alerts_firing", "Alerts that are firing", registry=REGISTRY)
GROUPS: Final = Gauge("phonon_groups", "Groups that this worker adds up; 0 if another one does", registry=REGISTRY)
GROUPS_WRITTEN: Final = Counter("phonon_group_metrics_written", "Group metrics records written", registry=REGISTRY)
GROUPS_REFUSED: Final = Gauge(
    "phonon_groups_file_refused",
    "1 while the groups file can't be used and an older version is in effect",
    registry=REGISTRY,
)
STATE_EXPIRES: Final = Gauge(
    "phonon_state_expires",
    "1 while Kafka deletes the state by age: its topic's cleanup.policy is not compact",
    registry=REGISTRY,
)
LOST: Final = Counter(
    "phonon_partitions_lost", "Times a partition's state was dropped and loaded again", ["partition"], registry=REGISTRY
)
FLUSH: Final = Histogram(
    "phonon_flush_seconds", "Seconds that a transaction of state and metrics took", registry=REGISTRY
)
EMISSION_DELAY: Final = Gauge(
    "phonon_emission_delay_seconds", "Seconds from Kafka's timestamp of the last counted record to its flush",
    ["partition"], registry=REGISTRY,
)  # fmt: skip
LAG_RECORDS: Final = Gauge(
    "phonon_lag_records", "Records of a partition not yet counted", ["partition"], registry=REGISTRY
)
LAG_SECONDS: Final = Gauge(
    "phonon_lag_seconds", "Age of the last counted record while others wait, else 0", ["partition"], registry=REGISTRY
)
PARTITIONS: Final = Gauge("phonon_partitions", "Partitions that this worker owns", ["state"], registry=REGISTRY)
DIDS: Final = Gauge("phonon_dids", "DIDs in the state", registry=REGISTRY)
BUCKETS: Final = Gauge("phonon_buckets", "DID minutes in the state", registry=REGISTRY)
WAITING: Final = Gauge("phonon_dids_waiting", "DIDs whose metrics are waiting to be written", registry=REGISTRY)
CLOCK_AHEAD: Final = Gauge(
    "phonon_clock_ahead_seconds",
    "Seconds that a partition's clock is ahead of this machine's, else 0",
    registry=REGISTRY,
)
RECOVERED: Final = Gauge(
    "phonon_recovery_ratio", "Share of the state loaded: 1 once a partition is live", ["partition"], registry=REGISTRY
)
