"""How to reach Kafka: settings come under librdkafka's names, aiokafka and Faust have others. No I/O but PEM files."""

import re
import ssl
from collections.abc import Mapping
from typing import Any, Final

import faust
from aiokafka.helpers import create_ssl_context

from schemas.settings import SettingsError

Properties = Mapping[str, str]

PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
#: Those that need no more than a name and a password.
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

_PORT: Final = re.compile(r":\d+$", re.ASCII)


def check(kafka: Properties) -> None:
    """Raises SettingsError for what would end the start in aiokafka's or Faust's words, or in none."""
    protocol = _protocol(kafka)
    if protocol not in PROTOCOLS:
        raise SettingsError(f"KAFKA_SECURITY_PROTOCOL is {protocol!r}: expected one of {', '.join(PROTOCOLS)}")
    if "SASL" in protocol:
        if _mechanism(kafka) not in MECHANISMS:
            expected = f"workers know {', '.join(MECHANISMS)}"
            raise SettingsError(f"KAFKA_SASL_MECHANISM is {_mechanism(kafka)!r}: {expected}")
        if not (kafka.get("sasl.username") and kafka.get("sasl.password")):
            raise SettingsError(f"KAFKA_SECURITY_PROTOCOL={protocol} needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD")
    try:
        tls(kafka)
    except OSError as error:
        files = "KAFKA_SSL_CA_LOCATION, KAFKA_SSL_CERTIFICATE_LOCATION or KAFKA_SSL_KEY_LOCATION"
        raise SettingsError(f"{files}: {error.strerror or error}") from None


def arguments(kafka: Properties) -> dict[str, Any]:
    """The arguments of any aiokafka client."""
    given: dict[str, Any] = {
        "bootstrap_servers": [_server(one) for one in kafka["bootstrap.servers"].split(",")],
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
    # From 3.13 on Python refuses CAs without a key usage, as openssl and keytool make them; librdkafka takes them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if kafka.get("ssl.endpoint.identification.algorithm", "https") == "none":
        context.check_hostname = False
    if kafka.get("enable.ssl.certificate.verification", "true") == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _server(text: str) -> str:
    """A server as host:port; as with librdkafka a protocol before it says nothing, and 9092 is the port without one."""
    address = text.strip().rpartition("://")[2]
    return address if _PORT.search(address) else f"{address}:9092"


def _protocol(kafka: Properties) -> str:
    return kafka.get("security.protocol", "PLAINTEXT").upper()


def _mechanism(kafka: Properties) -> str:
    return kafka.get("sasl.mechanism", kafka.get("sasl.mechanisms", "PLAIN")).upper()
