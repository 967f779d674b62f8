"""How to reach Kafka: settings come under librdkafka's names, aiokafka and Faust have others. No I/O but PEM files."""

import ssl
from collections.abc import Mapping
from typing import Any

import faust
from aiokafka.helpers import create_ssl_context

Properties = Mapping[str, str]


def arguments(kafka: Properties) -> dict[str, Any]:
    """The arguments of any aiokafka client."""
    given: dict[str, Any] = {
        "bootstrap_servers": kafka["bootstrap.servers"].replace(" ", "").split(","),
        "security_protocol": _protocol(kafka),
        "ssl_context": tls(kafka),
    }
    if "SASL" in given["security_protocol"]:
        given |= {
            "sasl_mechanism": _mechanism(kafka),
            "sasl_plain_username": kafka.get("sasl.username"),
            "sasl_plain_password": kafka.get("sasl.password"),
        }
    return given


def credentials(kafka: Properties) -> Any:
    """Faust's `broker_credentials`; None for a plain connection."""
    context = tls(kafka)
    if "SASL" in _protocol(kafka):
        return faust.SASLCredentials(
            username=kafka.get("sasl.username"),
            password=kafka.get("sasl.password"),
            mechanism=_mechanism(kafka),
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context else None


def urls(kafka: Properties) -> list[str]:
    """Faust's `broker`."""
    return [f"kafka://{server}" for server in arguments(kafka)["bootstrap_servers"]]


def tls(kafka: Properties) -> ssl.SSLContext | None:
    """The TLS context, or None without TLS. Raises OSError or ssl.SSLError where a file is missing or unreadable."""
    if "SSL" not in _protocol(kafka):
        return None
    context: ssl.SSLContext = create_ssl_context(
        cafile=kafka.get("ssl.ca.location"),
        certfile=kafka.get("ssl.certificate.location"),
        keyfile=kafka.get("ssl.key.location"),
        password=kafka.get("ssl.key.password"),
    )
    if kafka.get("ssl.endpoint.identification.algorithm", "https") == "none":
        context.check_hostname = False
    if kafka.get("enable.ssl.certificate.verification", "true") == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _protocol(kafka: Properties) -> str:
    return kafka.get("security.protocol", "PLAINTEXT").upper()


def _mechanism(kafka: Properties) -> str:
    return kafka.get("sasl.mechanism", kafka.get("sasl.mechanisms", "PLAIN")).upper()
