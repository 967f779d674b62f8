"""The topics in AsyncAPI 3.0, made from the tables of topics and schemas.

A pure module. Payloads are references to schemas/*.avsc, relative to docs/: there is one text of each schema. Read as
a consumer: every operation `send` is a topic that can be subscribed to.
"""

from typing import Any, Final

from schemas import SCHEMAS
from schemas.settings import Settings
from schemas.topics import TOPICS, Topic, topic_config, topic_name

AVRO: Final = "application/vnd.apache.avro;version=1.9.0"
BINDING: Final = "0.5.0"
NUMBERS: Final = {"retention.ms", "max.message.bytes"}
FRAMING: Final = (
    "Values: without a schema registry Avro single-object encoding (C3 01, the 8-byte little-endian CRC-64-AVRO "
    "fingerprint of the schema, the body); with one Confluent's wire format (00, the 4-byte id, the body), subject "
    "<topic>-value, compatibility FULL_TRANSITIVE. Keys: the DID, E.164 as UTF-8 text; partitioner murmur2. An event's "
    "id is a pure function of what happened: drop ids that you have seen, and each event counts once."
)
REJECTED: Final = "Also written by the workers for records that are no flow records, without headers."
KEYS: Final = {
    "DID": "The DID; `unknown` without one.",
    "DID or group": "The DID, or the group's name.",
    "group": "The group's name, for example group/sales.",
    "metric:window": "What is ranked by, for example answer_seizure_ratio:1h.",
}
GROUPS: Final = (
    "The live metrics of one group of DIDs, the sums of theirs: the last record of a group is what holds now."
)
HEADERS: Final = {
    "ce_specversion": {"type": "string", "const": "1.0"},
    "ce_id": {"type": "string", "description": "The event's id; did@as_of of metrics."},
    "ce_type": {"type": "string"},
    "ce_source": {"type": "string"},
    "ce_time": {"type": "string", "format": "date-time", "description": "When it happened, UTC."},
    "content-type": {"type": "string", "const": "application/avro"},
    "traceparent": {"type": "string", "description": "Of the provider's request, when it carried one."},
}


def asyncapi(settings: Settings) -> dict[str, Any]:
    """The document for these settings."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "phonon-events",
            "version": "1.0.0",
            "description": f"Phonon's call flows as events, and live metrics and alerts per DID and group. {FRAMING}",
        },
        "defaultContentType": "application/avro",
        "servers": {
            "kafka": {"host": "localhost:9092", "protocol": "kafka", "description": "KAFKA_BOOTSTRAP_SERVERS"},
        },
        "channels": {topic.kind: _channel(topic, settings) for topic in TOPICS},
        "operations": {f"publish_{topic.kind}": _send(topic) for topic in TOPICS}
        | {
            "count_flow": {
                "action": "receive",
                "summary": "What the live metrics are made from.",
                **_at("flow", "Flow"),
            }
        },
        "components": {"messages": {topic.record: _message(topic) for topic in TOPICS}},
    }


def _doc(topic: Topic) -> str:
    return GROUPS if topic.same_as else str(SCHEMAS[topic.record]["doc"])


def _channel(topic: Topic, settings: Settings) -> dict[str, Any]:
    config: dict[str, Any] = topic_config(topic, settings.max_body_bytes)
    known = {name: int(value) for name, value in config.items() if name in NUMBERS}
    return {
        "address": topic_name(settings.topic_prefix, topic.record),
        "messages": {topic.record: {"$ref": f"#/components/messages/{topic.record}"}},
        "description": _doc(topic),
        "bindings": {
            "kafka": {
                "partitions": settings.topic_partitions,
                "replicas": settings.topic_replication,
                "topicConfiguration": {"cleanup.policy": [config["cleanup.policy"]], **known},
                "bindingVersion": BINDING,
            }
        },
    }


def _send(topic: Topic) -> dict[str, Any]:
    return {"action": "send", **_at(topic.kind, topic.record)}


def _at(channel: str, message: str) -> dict[str, Any]:
    reference = f"#/channels/{channel}"
    return {"channel": {"$ref": reference}, "messages": [{"$ref": f"{reference}/messages/{message}"}]}


def _message(topic: Topic) -> dict[str, Any]:
    key = {"type": "string", "description": KEYS[topic.key]} if topic.key else None
    headers = HEADERS | {"ce_type": {"type": "string", "const": f"phonon.{topic.name}.v1"}}
    binding = {"key": key} if key else {}
    return {
        "name": topic.record,
        "title": topic.record,
        "summary": _doc(topic) + (f" {REJECTED}" if topic.record == "Rejected" else ""),
        "contentType": "application/avro",
        "headers": {"type": "object", "properties": headers},
        "payload": {"schemaFormat": AVRO, "schema": {"$ref": f"../schemas/{topic.schema}.avsc"}},
        "bindings": {"kafka": {**binding, "bindingVersion": BINDING}},
    }
