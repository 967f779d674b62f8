"""Every figure that notify's /metrics shows, once: name, type, unit. An address is named by its host alone."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

REGISTRY: Final = CollectorRegistry()

READY: Final = Gauge("phonon_ready", "1 while alerts are being read, else 0 (/readyz says why)", registry=REGISTRY)
SENT: Final = Counter("phonon_alerts_sent", "Alert messages answered 2xx", ["address"], registry=REGISTRY)
FAILED: Final = Counter("phonon_alert_tries_failed", "Attempts not answered 2xx", ["address"], registry=REGISTRY)
GIVEN_UP: Final = Counter(
    "phonon_alerts_given_up", "Alert messages given up for an address", ["address"], registry=REGISTRY
)
UNREADABLE: Final = Counter("phonon_alerts_unreadable", "Records that are not alerts, skipped", registry=REGISTRY)
WAITING: Final = Gauge("phonon_alerts_waiting", "Alert messages waiting", ["address"], registry=REGISTRY)
OLDEST: Final = Gauge(
    "phonon_alerts_oldest_age_seconds",
    "Seconds since Kafka received the oldest of them, else 0",
    ["address"],
    registry=REGISTRY,
)
