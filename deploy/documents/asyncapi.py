"""The topics in AsyncAPI 3.0, made from the tables of topics and schemas.

A pure module. Payloads are references to schemas/*.avsc, relative to docs/: there is one text of each schema. The raw
topic, which an installation may have or not, holds what the webhook takes: that is described in openapi.json. Read as a
consumer: every operation `send` is a topic that can be subscribed to.
"""

from typing import Any, Final

from schemas import SCHEMAS
from schemas.settings import Settings
from schemas.topics import BY_RECORD, RAW, Topic, topic_config, topics_by_name

AVRO: Final = "application/vnd.apache.avro;version=1.9.0"
BINDING: Final = "0.5.0"
NUMBERS: Final = {"retention.ms", "max.message.bytes"}
FRAMING: Final = (
    "Values: Avro single-object encoding without a schema registry (C3 01, the 8-byte little-endian CRC-64-AVRO "
    "fingerprint of the schema, the body); Confluent's wire format with one (00, the 4-byte id, the body), subject "
    "<topic>-value, compatibility FULL_TRANSITIVE. Keys: the DID, E.164 as UTF-8 text; partitioner murmur2. An event's "
    "id is a pure function of what happened: drop ids that you have seen, and each event counts once."
)
DELIVERY: Final = (
    "The body of an accepted delivery, after inflating. Only with PHONON_RAW_TOPIC=true. It is kept so that it "
    "can be split again after a fix (phonon-events replay --from-raw)."
)
REJECTED: Final = "The workers also write one for each record on the flow topic that they cannot read."
KEYS: Final = {
    "DID": "The DID; `unknown` if there is none.",
    "DID or group": "The DID, or the group's name.",
    "group": "The group's name, for example group/sales.",
    "metric:window": "The metric and window of the ranking, for example answer_seizure_ratio:1h.",
}
GROUPS: Final = (
    "The live metrics of one group of DIDs, summed over its DIDs. The last record of a group is the current one."
)
HEADERS: Final = {
    "ce_specversion": {"type": "string", "const": "1.0"},
    "ce_id": {
        "type": "string",
        "description": "The event's id. For metrics, did@as_of; for a raw body, made from its events' ids; for a "
        "record that a worker set aside, where it was: topic/partition/offset.",
    },
    "ce_type": {"type": "string"},
    "ce_source": {"type": "string"},
    "ce_time": {
        "type": "string",
        "format": "date-time",
        "description": "When it happened; for a raw body, when it was received. UTC.",
    },
    "content-type": {"type": "string"},
    "traceparent": {"type": "string", "description": "From the provider's request, if it carried one."},
}


def asyncapi(settings: Settings) -> dict[str, Any]:
    """The document for these settings, with the raw topic."""
    topics = topics_by_name(settings.topic_prefix, raw=True)
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
        "channels": {topic.kind: _channel(name, topic, settings) for name, topic in topics.items()},
        "operations": {f"publish_{topic.kind}": {"action": "send", **_at(topic)} for topic in topics.values()}
        | {
            "count_flow": {
                "action": "receive",
                "summary": "The source of the live metrics.",
                **_at(BY_RECORD["Flow"]),
            }
        },
        "components": {"messages": {_called(topic): _message(topic) for topic in topics.values()}},
    }


def _called(topic: Topic) -> str:
    """What a topic's message is called: by its record, or by what the webhook calls a raw body."""
    return topic.record or "Delivery"


def _meaning(topic: Topic) -> str:
    if topic is RAW:
        return DELIVERY
    return GROUPS if topic.same_as else str(SCHEMAS[topic.record]["doc"])


def _channel(name: str, topic: Topic, settings: Settings) -> dict[str, Any]:
    config: dict[str, Any] = topic_config(topic, settings.max_body_bytes)
    known = {name: int(value) for name, value in config.items() if name in NUMBERS}
    return {
        "address": name,
        "messages": {_called(topic): {"$ref": f"#/components/messages/{_called(topic)}"}},
        "description": _meaning(topic),
        "bindings": {
            "kafka": {
                "partitions": settings.topic_partitions,
                "replicas": settings.topic_replication,
                "topicConfiguration": {"cleanup.policy": [config["cleanup.policy"]], **known},
                "bindingVersion": BINDING,
            }
        },
    }


def _at(topic: Topic) -> dict[str, Any]:
    reference = f"#/channels/{topic.kind}"
    return {"channel": {"$ref": reference}, "messages": [{"$ref": f"{reference}/messages/{_called(topic)}"}]}


def _message(topic: Topic) -> dict[str, Any]:
    types = {"ce_type": f"phonon.{topic.name}.v1", "content-type": "application/avro"}
    payload: dict[str, Any] = {"schemaFormat": AVRO, "schema": {"$ref": f"../schemas/{topic.schema}.avsc"}}
    key = {"type": "string", "description": KEYS[topic.key]} if topic.key else None
    if topic is RAW:
        types |= {"content-type": "application/json"}
        payload = {"$ref": "openapi.json#/components/schemas/Delivery"}
        key = {"type": "string", "description": "The flow's id."}
    return {
        "name": _called(topic),
        "title": _called(topic),
        "summary": _meaning(topic) + (f" {REJECTED}" if topic.record == "Rejected" else ""),
        "contentType": types["content-type"],
        "headers": {
            "type": "object",
            "properties": HEADERS | {name: {"type": "string", "const": type_} for name, type_ in types.items()},
        },
        "payload": payload,
        "bindings": {"kafka": ({"key": key} if key else {}) | {"bindingVersion": BINDING}},
    }
