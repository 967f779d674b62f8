"""librdkafka's errors in words that name the setting to look at: why Kafka does not let us in, which property is wrong.

librdkafka tells what Kafka refuses only to its error callback, many times, and then times out: whoever waits for an
answer asks here what the silence means. No I/O.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from confluent_kafka import KafkaError

from schemas.refusals import (
    NOT_PERMITTED,
    REFUSED_CERTIFICATE,
    UNTRUSTED_CERTIFICATE,
    WRONG_CREDENTIALS,
    WRONG_PROTOCOL,
    WRONG_TIME,
)
from schemas.settings import kafka_setting

#: A client that has heard nothing for so long is replaced. librdkafka forgets all brokers if metadata names none, as a
#: fenced broker's does when it comes back from a hang; one client in 25 then never connects again (issue 5301).
REPLACED_AFTER_SECONDS: Final = 8.0
REFUSALS: Final = frozenset(
    {NOT_PERMITTED, REFUSED_CERTIFICATE, UNTRUSTED_CERTIFICATE, WRONG_CREDENTIALS, WRONG_PROTOCOL}
)
_UNAUTHORIZED: Final = frozenset(
    {
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)

#: Properties that librdkafka calls by another name than the one that was set (its CONFIGURATION.md: "Alias for").
ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "acks": "request.required.acks",
        "compression.type": "compression.codec",
        "delivery.timeout.ms": "message.timeout.ms",
        "linger.ms": "queue.buffering.max.ms",
        "max.in.flight": "max.in.flight.requests.per.connection",
        "max.partition.fetch.bytes": "fetch.message.max.bytes",
        "retries": "message.send.max.retries",
        "sasl.mechanism": "sasl.mechanisms",
    }
)
#: What a server says of a client's certificate (RFC 8446, section 6.2: bad_certificate to unknown_ca, and required).
_OUR_CERTIFICATE: Final = re.compile(r"SSL alert number (?:4[2-68]|116)\b")
_QUOTED: Final = re.compile(r'["`]([a-z][a-z0-9._]*)["`]')


def refusal(error: KafkaError) -> str:
    """What Kafka refuses, as words to follow "Kafka"; empty where it is just away."""
    text = str(error.str())
    if error.code() in _UNAUTHORIZED:
        return NOT_PERMITTED
    if error.code() == KafkaError.INVALID_TIMESTAMP:  # more than an hour (message.timestamp.after.max.ms)
        return WRONG_TIME
    if error.code() == KafkaError._AUTHENTICATION or "SASL" in text:
        return WRONG_CREDENTIALS
    if _OUR_CERTIFICATE.search(text):
        return REFUSED_CERTIFICATE
    if "certificate" in text:
        return UNTRUSTED_CERTIFICATE
    if error.code() == KafkaError._SSL or "security.protocol" in text:
        return WRONG_PROTOCOL
    return ""


def property_of(name: str) -> str:
    """The property that a name stands for: two names may mean the same one."""
    return ALIASES.get(name, name)


def refused_property(said: str, properties: Iterable[str]) -> str:
    """What librdkafka says of one of these properties, behind the name of the setting to mend."""
    named = set(map(property_of, _QUOTED.findall(said)))
    meant = [name for name in properties if property_of(name) in named]
    settings = " or ".join(map(kafka_setting, meant))
    return f"{settings or 'KAFKA_ settings'}: {' '.join(said.split())}"
