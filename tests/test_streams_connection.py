"""connection: librdkafka's names as aiokafka's and Faust's; and what preflight says where there is no answer."""

import json
import ssl
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest
from aiokafka.admin import NewTopic
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InvalidConfigurationError,
    KafkaConnectionError,
    KafkaTimeoutError,
    NodeNotReadyError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from schemas.refusals import NOT_PERMITTED, UNTRUSTED_CERTIFICATE, WRONG_CREDENTIALS, WRONG_PROTOCOL
from schemas.settings import SettingsError
from streams import connection, preflight
from streams.log import reason


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
    assert (credentials.username, credentials.password) == ("svc", "secret")
    assert isinstance(credentials.ssl_context, ssl.SSLContext)
    assert connection.credentials(kafka | {"security.protocol": "sasl_plaintext"}).ssl_context is None


def test_tls_checks_the_name_unless_told_otherwise() -> None:
    kafka = {"bootstrap.servers": "a:1", "security.protocol": "SSL"}
    context = connection.tls(kafka)
    lenient = connection.tls(kafka | {"ssl.endpoint.identification.algorithm": "none"})
    assert context is not None
    assert lenient is not None
    assert (context.check_hostname, lenient.check_hostname) == (True, False)
    assert lenient.verify_mode is ssl.CERT_REQUIRED
    assert isinstance(connection.credentials(kafka), faust.SSLCredentials)


def test_certificates_are_checked_unless_told_otherwise() -> None:
    kafka = {"bootstrap.servers": "a:1", "security.protocol": "SSL"}
    for value, checked in (("true", True), ("false", False)):
        context = connection.tls(kafka | {"enable.ssl.certificate.verification": value})
        assert context is not None
        assert (context.check_hostname, context.verify_mode is ssl.CERT_REQUIRED) == (checked, checked)


def test_our_certificate_is_read_with_its_password(tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=us"]
    command += ["-passout", "pass:sword-fish", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "pem")]
    subprocess.run(command, check=True, capture_output=True)
    kafka = {"bootstrap.servers": "a:1", "security.protocol": "SSL", "ssl.key.location": str(tmp_path / "key")}
    kafka["ssl.certificate.location"] = str(tmp_path / "pem")
    connection.check(kafka | {"ssl.key.password": "sword-fish"})
    with pytest.raises(SettingsError, match="KAFKA_SSL_KEY_LOCATION"):
        connection.check(kafka | {"ssl.key.password": "cod"})


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


# what is logged

SAID = """
import logging, logging.config, sys
from streams.log import config
logging.config.dictConfig(config(*sys.argv[1:]))
for name in ("faust", "mode.core", "aiokafka.cluster", "asyncio", "streams.chunks", "aiokafka.conn", "streams.app"):
    logging.getLogger(name).warning("said")
logging.getLogger("streams.app").debug("fine")
"""
NOISE = ["faust", "mode.core", "aiokafka.cluster", "asyncio", "streams.chunks"]


@pytest.mark.parametrize(
    ("level", "told"), [("info", ["streams.app"]), ("error", []), ("debug", [*NOISE, "streams.app", "streams.app"])]
)
def test_of_what_libraries_say_nothing_is_logged_and_with_debug_all_but_what_goes_over_connections(
    level: str, told: list[str]
) -> None:
    """aiokafka.conn logs requests, one of them with the password."""
    command = [sys.executable, "-c", SAID, level, "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["logger"] for line in lines] == told
    assert {(*line, line["message"]) for line in lines if line["level"] == "WARNING"} <= {
        ("time", "level", "logger", "message", "said")
    }


# what must be there before the first record is read


NEEDED = preflight.Needed("group", "flow", "metrics", ("alerts",), ("rejected",), "changelog", 2)
ALL = {"flow": 4, "metrics": 4, "alerts": 4, "rejected": 1, "changelog": 4}


class FakeAdmin:
    """aiokafka's, for a cluster with these topics; `codes` are the answers to who makes one."""

    def __init__(self, topics: dict[str, int], codes: tuple[int, ...] = (0,), group: Exception | None = None) -> None:
        self.topics, self.codes, self.group = topics, list(codes), group
        self.made: list[NewTopic] = []

    async def describe_topics(self) -> list[dict[str, Any]]:
        return [{"topic": name, "partitions": [{}] * number} for name, number in self.topics.items()]

    async def find_coordinator(self, _group: str) -> None:
        if self.group:
            raise self.group

    async def create_topics(self, new: list[NewTopic]) -> Any:
        self.made += new
        return SimpleNamespace(topic_errors=[(new[0].name, self.codes.pop(0), None)])


def lacks(name: str) -> str:
    return f"topic {name} is missing; `phonon-events topics create` makes it"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, None),
        ({"alerts": 5, "rejected": 9}, None),
        *[({name: None}, lacks(name)) for name in ("flow", "metrics", "alerts", "rejected")],
    ],
)
async def test_a_topic_that_is_missing_is_waited_for(changed: dict[str, int | None], told: str | None) -> None:
    admin = FakeAdmin({name: number for name, number in (ALL | changed).items() if number is not None})
    assert await preflight._check(cast(Any, admin), NEEDED) == told
    assert admin.made == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"metrics": 5}, "metrics has 5 partitions, flow has 4: they must agree"),
        ({"changelog": 3}, "changelog has 3 partitions, flow has 4: they must agree"),
        ({"alerts": 3}, "alerts has 3 partitions, flow has 4: give it as many"),
    ],
)
async def test_partitions_that_do_not_agree_are_nothing_to_wait_for(changed: dict[str, int], told: str) -> None:
    """With another number of them a DID's state and figures would be another worker's."""
    with pytest.raises(preflight.Unfit, match=told):
        await preflight._check(cast(Any, FakeAdmin(ALL | changed)), NEEDED)


REFUSED_CONFIG, THERE, DENIED = 40, 36, 29  # Kafka's codes: INVALID_CONFIG, TOPIC_ALREADY_EXISTS, TOPIC_AUTHORIZATION


@pytest.mark.parametrize(
    ("codes", "refused"),
    [
        ([0], None),
        ([THERE], None),
        ([REFUSED_CONFIG, 0], None),
        ([REFUSED_CONFIG, REFUSED_CONFIG], InvalidConfigurationError),
        ([DENIED], TopicAuthorizationFailedError),
    ],
    ids=["made", "another worker was first", "made as the cluster lets us", "not at all", "not permitted"],
)
async def test_the_changelog_is_made_with_as_many_partitions_as_the_flows(
    codes: list[int], refused: type[Exception] | None
) -> None:
    admin = FakeAdmin({name: number for name, number in ALL.items() if name != "changelog"}, tuple(codes))
    with pytest.raises(refused) if refused else nullcontext():
        assert await preflight._check(cast(Any, admin), NEEDED) is None
    assert [(new.name, new.num_partitions, new.replication_factor) for new in admin.made] == [
        ("changelog", 4, 2)
    ] * len(codes)
    assert [new.topic_configs["cleanup.policy"] for new in admin.made] == ["compact"] * len(codes)
    assert ["max.compaction.lag.ms" in new.topic_configs for new in admin.made] == [True, False][: len(codes)]


@pytest.mark.parametrize(
    ("error", "refused"), [(GroupAuthorizationFailedError(), True), (KafkaConnectionError(), False)]
)
async def test_a_group_that_we_may_not_join_is_a_refusal_and_one_that_nobody_leads_is_none(
    error: Exception, refused: bool
) -> None:
    with pytest.raises(GroupAuthorizationFailedError) if refused else nullcontext():
        await preflight._check(cast(Any, FakeAdmin(ALL, group=error)), NEEDED)


async def test_what_is_waited_for_is_told_each_time_and_logged_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(preflight, "PAUSE_SECONDS", 0)
    answers = [*["away"] * 11, "a topic", None, "a schema", None]
    told: list[str] = []

    async def question() -> str | None:
        return answers.pop(0)

    await preflight.wait_for(question, question, stopping=lambda: False, tell=told.append)
    assert (told, answers) == ([*["away"] * 11, "a topic", "a schema"], [])
    said = ["waiting: away"] * 2 + ["waiting: a topic", "waiting: a schema"]
    assert caplog.messages == said
    await preflight.wait_for(question, stopping=lambda: True, tell=told.append)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (preflight.Unfit("metrics has 5 partitions"), "metrics has 5 partitions"),
        (TopicAuthorizationFailedError(), f"Kafka {NOT_PERMITTED} ({reason(TopicAuthorizationFailedError())})"),
        (KafkaConnectionError(), None),
        (TimeoutError(), None),
        (ConnectionRefusedError(), None),
    ],
)
async def test_while_workers_run_only_what_is_known_to_be_wrong_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str | None
) -> None:
    """That nobody answers is for the partitions to say."""

    async def asked(*_: object) -> None:
        raise error

    monkeypatch.setattr(preflight, "_ask", asked)
    assert await preflight.lacking({}, NEEDED) == told


def of_tls(error: ssl.SSLError, why: str | None) -> ssl.SSLError:
    """An error as OpenSSL's are: it has a reason, or None where Python knows no name for it."""
    error.reason = why  # type: ignore[assignment]
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TopicAuthorizationFailedError(), f"Kafka at a:1 {NOT_PERMITTED} ({reason(TopicAuthorizationFailedError())})"),
        (SaslAuthenticationFailed(), f"Kafka at a:1 {WRONG_CREDENTIALS}"),
        (UnsupportedSaslMechanismError(), f"Kafka at a:1 {WRONG_CREDENTIALS}"),
        (of_tls(ssl.SSLCertVerificationError(), "CERTIFICATE_VERIFY_FAILED"), f"Kafka at a:1 {UNTRUSTED_CERTIFICATE}"),
        (of_tls(ssl.SSLError(), "WRONG_VERSION_NUMBER"), f"Kafka at a:1 {WRONG_PROTOCOL}"),
        (of_tls(ssl.SSLError(), None), f"Kafka at a:1 {WRONG_PROTOCOL}"),
        (
            KafkaConnectionError(),
            "no answer from Kafka at a:1 (KafkaConnectionError: is KAFKA_SECURITY_PROTOCOL right?)",
        ),
        (ConnectionRefusedError(111, "Connection refused"), "no answer from Kafka at a:1 (Connection refused)"),
        (KafkaTimeoutError(), "no answer from Kafka at a:1 (KafkaTimeoutError)"),
    ],
)
async def test_why_there_is_no_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception, told: str) -> None:
    async def create_conn(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(preflight, "create_conn", create_conn)
    assert await preflight._why({"bootstrap_servers": ["a:1"]}, OSError("less")) == told
