"""Why Kafka does not let us in, in words that name the setting to look at.

librdkafka tells it only to its error callback, many times, and then times out: whoever waits for an answer asks here
what the silence means. Pure, but for the error's type.
"""

from typing import Final

from confluent_kafka import KafkaError

from schemas.settings import UNTRUSTED_CERTIFICATE, WRONG_CREDENTIALS, WRONG_PROTOCOL

REFUSALS: Final = frozenset({UNTRUSTED_CERTIFICATE, WRONG_CREDENTIALS, WRONG_PROTOCOL})


def refusal(error: KafkaError) -> str:
    """What Kafka refuses, to follow "Kafka"; nothing where it is just away."""
    text = str(error.str())
    if error.code() == KafkaError._AUTHENTICATION or "SASL" in text:
        return WRONG_CREDENTIALS
    if "certificate" in text:
        return UNTRUSTED_CERTIFICATE
    if error.code() == KafkaError._SSL or "security.protocol" in text:
        return WRONG_PROTOCOL
    return ""
