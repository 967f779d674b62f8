"""What the demo shows, read from outside: the metrics topic and the receiver's own counters.

It knows nothing of the services' insides: a record on Kafka, a page in Prometheus' text format.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from app.dashboard.scrape import page
from app.demo.ports import LOOPBACK
from schemas import Resolve, decode

DELIVERIES, EVENTS, SPOOLED = "phonon_deliveries_total", "phonon_events_total", "phonon_spool_rows"


@dataclass(slots=True)
class Seen:
    """The last metrics of each DID, and when the newest was written."""

    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    newest_ms: int = 0

    def add(self, value: Mapping[str, Any], written_ms: int) -> None:
        self.metrics[value["did"]] = dict(value)
        self.newest_ms = max(self.newest_ms, written_ms)


class MetricsReader:
    """A reader of the metrics topic, from its beginning."""

    def __init__(self, kafka: Mapping[str, str], topic: str, resolve: Resolve) -> None:
        self.seen = Seen()
        self._resolve = resolve
        self._topic = topic
        self._consumer = Consumer({**kafka, "group.id": "phonon-demo", "enable.auto.commit": False, "log_level": 2})
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, 0) for number in partitions])

    def read(self, seconds: float) -> Seen:
        """Wait so long at most for more; return all that was seen so far."""
        for message in self._consumer.consume(500, seconds):
            self._take(message)
        return self.seen

    def _take(self, message: Message) -> None:
        value = message.value()
        if message.error() is None and value:
            self.seen.add(decode(value, self._resolve)[1], message.timestamp()[1])

    def close(self) -> None:
        self._consumer.close()


def counters(port: int) -> Counter[str]:
    """Return the sums of the receiver's counters by name; empty if it does not answer."""
    return sums(page(f"http://{LOOPBACK}:{port}/metrics") or "")


def sums(text: str) -> Counter[str]:
    """Add up a page in Prometheus' text format, over all labels."""
    total: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            total[sample.name] += int(sample.value)
    return total
