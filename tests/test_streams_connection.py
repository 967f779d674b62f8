"""connection: librdkafka's names as aiokafka's and Faust's; and what preflight says where there is no answer."""

import ssl

import faust
import pytest
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, SaslAuthenticationFailed

from schemas.refusals import WRONG_CREDENTIALS
from schemas.settings import SettingsError
from streams import connection, preflight


def test_plain() -> None:
    kafka = {"bootstrap.servers": "a:1, b:2"}
    assert connection.arguments(kafka) == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "PLAINTEXT",
        "ssl_context": None,
    }
    assert connection.credentials(kafka) is None
    assert connection.urls(kafka) == ["kafka://a:1", "kafka://b:2"]


def test_servers_as_librdkafka_takes_them() -> None:
    servers = "a, b:2 ,SASL_SSL://c:3,[::1],[::1]:4"
    assert connection.arguments({"bootstrap.servers": servers})["bootstrap_servers"] == [
        "a:9092", "b:2", "c:3", "[::1]:9092", "[::1]:4",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["sasl.mechanism", "sasl.mechanisms"])
def test_sasl_over_tls(name: str) -> None:
    kafka = {
        "bootstrap.servers": "a:1", "security.protocol": "sasl_ssl", name: "scram-sha-512",
        "sasl.username": "svc", "sasl.password": "secret",
    }  # fmt: skip
    given = connection.arguments(kafka)
    assert isinstance(given.pop("ssl_context"), ssl.SSLContext)
    assert given == {
        "bootstrap_servers": ["a:1"], "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "svc", "sasl_plain_password": "secret",
    }  # fmt: skip
    credentials = connection.credentials(kafka)
    assert isinstance(credentials, faust.SASLCredentials)
    assert (credentials.protocol.value, credentials.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")


def test_tls_checks_the_name_unless_told_otherwise() -> None:
    kafka = {"bootstrap.servers": "a:1", "security.protocol": "SSL"}
    context = connection.tls(kafka)
    lenient = connection.tls(kafka | {"ssl.endpoint.identification.algorithm": "none"})
    assert context is not None
    assert lenient is not None
    assert (context.check_hostname, lenient.check_hostname) == (True, False)
    assert lenient.verify_mode is ssl.CERT_REQUIRED
    assert isinstance(connection.credentials(kafka), faust.SSLCredentials)


def test_certificates_are_judged_as_librdkafka_judges_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.13's default refuses a CA that has no key usage: the receiver was connected, and no worker was."""

    def strict(**_files: None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(connection, "create_ssl_context", strict)
    context = connection.tls({"bootstrap.servers": "a:1", "security.protocol": "SSL"})
    assert context is not None
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED


SASL = {"bootstrap.servers": "a:1", "security.protocol": "sasl_ssl", "sasl.username": "svc", "sasl.password": "secret"}
WRONG = [
    ({"security.protocol": "TLS"}, "KAFKA_SECURITY_PROTOCOL is 'TLS'"),
    ({"sasl.mechanism": "GSSAPI"}, "KAFKA_SASL_MECHANISM is 'GSSAPI'"),
    ({"sasl.username": ""}, "KAFKA_SECURITY_PROTOCOL=SASL_SSL needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"),
    ({"sasl.password": ""}, "KAFKA_SECURITY_PROTOCOL=SASL_SSL needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"),
    ({"ssl.ca.location": __file__}, "KAFKA_SSL_CA_LOCATION"),
]


@pytest.mark.parametrize(("kafka", "told"), WRONG)
def test_what_no_worker_can_start_with_is_named(kafka: dict[str, str], told: str) -> None:
    connection.check(SASL)
    with pytest.raises(SettingsError, match=told) as error:
        connection.check(SASL | kafka)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_broker_that_names_addresses_which_can_not_be_reached_is_said() -> None:
    """Bootstrap answers, what it advertises does not: aiokafka then says NodeNotReadyError, and no more."""
    assert "advertised.listeners" in preflight._hint(NodeNotReadyError())
    assert preflight._hint(TimeoutError()).startswith("silence: it hangs, the network is cut, or it expects")


async def test_a_server_by_its_ipv6_address_is_asked_for_the_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its brackets were taken for a part of its name, so that a wrong password was an unknown host."""
    asked: list[tuple[str, int]] = []

    async def create_conn(host: str, port: int, **_: object) -> None:
        asked.append((host, port))
        raise SaslAuthenticationFailed

    monkeypatch.setattr(preflight, "create_conn", create_conn)
    said = await preflight._why({"bootstrap_servers": ["[::1]:4"]}, KafkaConnectionError())
    assert (asked, said) == ([("::1", 4)], f"Kafka at [::1]:4 {WRONG_CREDENTIALS}")
