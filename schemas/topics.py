"""The topics of the contract: which record goes where, and how each topic is kept.

Pure: a table and functions over it, so that the receiver, the workers, the command line, the README and the tests
name topics from one list. Source: contract, section 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

DAY_MS: Final = 24 * 3600 * 1000
EVENT_RETENTION_MS: Final = 7 * DAY_MS
ALERT_RETENTION_MS: Final = 90 * DAY_MS  # few records, and an episode may last

#: An event can hold a part of its delivery more than once (as sent, normalised, in `extra`), and a flow record adds a
#: row per leg: four bodies and 4 MiB are above anything that a body at the limit can become (app/split.py bounds rows).
RECORD_OVERHEAD_BYTES: Final = 4 * 1024 * 1024
BODY_COPIES: Final = 4


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: the record it carries, the word for its events in replies and metrics, its key, and how it is kept.

    `same_as`: where records of another topic are carried, under whose schema; `record` is then a word of its own.
    """

    record: str
    kind: str
    name: str
    key: str | None = "DID"
    compacted: bool = False
    retention_ms: int = EVENT_RETENTION_MS
    same_as: str | None = None

    @property
    def schema(self) -> str:
        """The name of its records' schema."""
        return self.same_as or self.record


TOPICS: Final = (
    Topic("CallLeg", "call_leg", "call-leg"),
    Topic("Dtmf", "dtmf", "dtmf"),
    Topic("Sms", "sms", "sms"),
    Topic("Email", "email", "email"),
    Topic("FlowKey", "key", "key"),
    Topic("Recording", "recording", "recording"),
    Topic("Flow", "flow", "flow"),
    Topic("Rejected", "rejected", "rejected", key=None),
    Topic("DidMetrics", "did_metrics", "did-metrics", compacted=True),
    Topic("DidAlert", "did_alert", "did-alerts", key="DID or group", retention_ms=ALERT_RETENTION_MS),
    Topic("GroupMetrics", "group_metrics", "group-metrics", key="group", compacted=True, same_as="DidMetrics"),
    Topic("DidRanking", "did_ranking", "did-ranking", key="metric:window", compacted=True),
)

#: What the workers alone write; all else is the receiver's.
OF_WORKERS: Final = frozenset({"DidMetrics", "DidAlert", "GroupMetrics", "DidRanking"})

#: The raw bodies, where PHONON_RAW_TOPIC asks for them. No record and no Avro: it stands apart from TOPICS.
RAW: Final = Topic("", "delivery", "delivery")

BY_RECORD: Final[Mapping[str, Topic]] = MappingProxyType({topic.record: topic for topic in TOPICS})

#: The kinds that a success reply counts, in its order.
EVENT_KINDS: Final = ("call_leg", "dtmf", "sms", "email", "key", "recording", "flow")


def topic_name(prefix: str, record: str) -> str:
    """The topic of a record: ("phonon", "CallLeg") -> "phonon.call-leg.v1"."""
    return f"{prefix}.{BY_RECORD[record].name}.v1"


def raw_topic_name(prefix: str) -> str:
    """The topic of the raw bodies: "phonon" -> "phonon.delivery.v1"."""
    return f"{prefix}.{RAW.name}.v1"


def changelog_name(prefix: str) -> str:
    """The topic of the workers' state, which they make themselves: "phonon" -> "phonon-metrics-buckets-changelog"."""
    return f"{prefix}-metrics-buckets-changelog"


def topics_by_name(prefix: str, *, raw: bool) -> dict[str, Topic]:
    """All topics that an installation needs, with the raw one or without."""
    found = {topic_name(prefix, topic.record): topic for topic in TOPICS}
    return found | ({raw_topic_name(prefix): RAW} if raw else {})


def record_limit_bytes(max_body_bytes: int) -> int:
    """The largest record, in bytes, that topics and producer must let through for bodies of that size."""
    return BODY_COPIES * max_body_bytes + RECORD_OVERHEAD_BYTES


def in_sync_config(replication: int) -> dict[str, str]:
    """How many replicas must have a record before it counts as acknowledged: from three on the majority.

    With fewer, one broker that is down would stop all writing, and Kafka's own setting is left alone.
    """
    return {"min.insync.replicas": str(replication // 2 + 1)} if replication >= 3 else {}


COMPACTED: Final = MappingProxyType({"cleanup.policy": "compact"})
#: What keeps a compacted topic short, where a cluster does not keep that for itself, as managed ones do.
TIDY: Final = MappingProxyType({"min.cleanable.dirty.ratio": "0.1", "segment.ms": "600000"})


def topic_config(topic: Topic, max_body_bytes: int, replication: int = 1) -> dict[str, str]:
    """The Kafka topic settings that a topic needs: how long and how safe it is kept, and how large a record may be."""
    config = {"max.message.bytes": str(record_limit_bytes(max_body_bytes))} | in_sync_config(replication)
    if topic.compacted:
        return config | COMPACTED
    return config | {"cleanup.policy": "delete", "retention.ms": str(topic.retention_ms)}
