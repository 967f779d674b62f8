"""Every setting is read or named as wrong in one line; secrets are never shown."""

import ipaddress
from dataclasses import fields
from pathlib import Path

import pytest

from schemas.settings import FILES, NAMES, SECRETS, Network, Ranked, Settings, SettingsError, Window, read_settings

#: One good value that is not the default, for every setting there is.
GOOD = {
    "PHONON_HOST": "0.0.0.0",
    "PHONON_PORT": "8181",
    "PHONON_WEBHOOK_PATH": "/in",
    "PHONON_MANAGEMENT_HOST": "::1",
    "PHONON_MANAGEMENT_PORT": "9200",
    "PHONON_DASHBOARD_HOST": "::1",
    "PHONON_DASHBOARD_PORT": "8091",
    "PHONON_DASHBOARD_BASIC_AUTH": "viewer:a password",
    "PHONON_RECEIVER_METRICS_URL": "http://a:9100/metrics https://b/metrics",
    "PHONON_MAX_BODY_BYTES": "2048",
    "PHONON_ANSWER_WITHIN": "2.5",
    "PHONON_STALL_AFTER": "0.8",
    "PHONON_MAX_IN_FLIGHT": "10",
    "PHONON_PRODUCERS": "2",
    "PHONON_BASIC_AUTH": "user:pass:word",
    "PHONON_TOKEN": "t0ken-t0ken",
    "PHONON_SIGNING_SECRET": "whsec_AAAA whsec_BBBB",
    "PHONON_ALLOWED_IPS": "10.0.0.0/8, 203.0.113.7",
    "PHONON_TRUSTED_PROXIES": "127.0.0.1",
    "PHONON_ALLOW_ANONYMOUS": "true",
    "PHONON_TOPIC_PREFIX": "acme",
    "PHONON_TOPIC_PARTITIONS": "3",
    "PHONON_TOPIC_REPLICATION": "3",
    "PHONON_RAW_TOPIC": "true",
    "PHONON_REGISTER_SCHEMAS": "false",
    "PHONON_TIMEZONE": "Europe/Berlin",
    "PHONON_REGION": "US",
    "PHONON_CONTENT": "drop",
    "PHONON_NUMBERS": "pseudonymise",
    "PHONON_PSEUDONYM_KEY": "a secret pepper",
    "PHONON_SPOOL_DIR": "/var/spool/phonon",
    "PHONON_SPOOL_MAX_BYTES": "4096",
    "PHONON_DRAIN_RATE": "7",
    "PHONON_WINDOWS": "1m,2h,1d",
    "PHONON_STATE_DIR": "/var/lib/phonon",
    "PHONON_ALERT_RULES": "alerts.toml",
    "PHONON_ALERT_WEBHOOK_URL": "https://hooks/T0/secret-path http://u:p@b:8443/in?key=k",
    "PHONON_ALERT_WEBHOOK_SECRET": "whsec_CCCC",
    "PHONON_GROUPS": "/etc/phonon/groups.toml",
    "PHONON_RANKINGS": "answer_seizure_ratio:2h:10:30, flows:1d:5",
    "PHONON_LOG_LEVEL": "debug",
    "PHONON_LOG_FORMAT": "json",
}
BAD = {
    "PHONON_PORT": "70000",
    "PHONON_WEBHOOK_PATH": "webhooks/",
    "PHONON_MAX_BODY_BYTES": "1MB",
    "PHONON_ANSWER_WITHIN": "0",
    "PHONON_MAX_IN_FLIGHT": "0",
    "PHONON_PRODUCERS": "0",
    "PHONON_BASIC_AUTH": "hunter2",
    "PHONON_TOKEN": "with space",
    "PHONON_ALLOWED_IPS": "10.0.0.1/8",
    "PHONON_ALLOW_ANONYMOUS": "perhaps",
    "PHONON_DASHBOARD_BASIC_AUTH": "swordfish",
    "PHONON_RECEIVER_METRICS_URL": "localhost:9100",
    "PHONON_ALERT_WEBHOOK_URL": "https://hooks/T0/secret http://u:swordfish@:8443",
    "PHONON_TOPIC_PREFIX": "a b",
    "PHONON_TIMEZONE": "Mars",
    "PHONON_REGION": "India",
    "PHONON_CONTENT": "hide",
    "PHONON_WINDOWS": "90s",
    "PHONON_GROUPS": "groups.xls",
    "PHONON_RANKINGS": "flows:1h",
    "PHONON_LOG_LEVEL": "loud",
    "SCHEMA_REGISTRY_URL": "registry:8081",
    "KAFKA_ACKS": "1",
    "KAFKA_SSL_CA_LOCATION": "/nonexistent/ca.pem",
    "KAFKA_ENABLE_IDEMPOTENCE": "false",
    "KAFKA_PARTITIONER": "random",
}


#: Raw bodies can't be kept together with content dropped or numbers as tokens.
TOGETHER = {name: value for name, value in GOOD.items() if name != "PHONON_RAW_TOPIC"}


def test_every_setting_is_read() -> None:
    default, read = read_settings({}), read_settings(TOGETHER)
    assert set(GOOD) == set(NAMES)
    assert read_settings({"PHONON_RAW_TOPIC": GOOD["PHONON_RAW_TOPIC"]}).raw_topic
    for f in fields(Settings):
        if f.metadata and f.name != "raw_topic":
            assert getattr(read, f.name) != getattr(default, f.name), f.name


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_value_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name) as error:
        read_settings({name: BAD[name]})
    assert "\n" not in str(error.value)
    if name in NAMES:
        assert (repr(BAD[name]) in str(error.value)) == (name not in SECRETS), "secrets stay hidden, the rest is shown"


@pytest.mark.parametrize(
    "environ",
    [
        {"PHONON_ANSWERWITHIN": "4"},
        {"PHONON_ANSWER_WITHIN": "1", "PHONON_STALL_AFTER": "1"},
        {"PHONON_NUMBERS": "pseudonymise"},
        {"PHONON_PSEUDONYM_KEY": "short"},
        {"PHONON_RAW_TOPIC": "true", "PHONON_CONTENT": "drop"},
        {"PHONON_RAW_TOPIC": "true", "PHONON_NUMBERS": "pseudonymise", "PHONON_PSEUDONYM_KEY": "long enough"},
        {"PHONON_TOKEN": "abc", "PHONON_TOKEN_FILE": "/dev/null"},
        {"PHONON_TOKEN_FILE": "/nonexistent"},
        {"PHONON_SIGNING_SECRET": " "},
        {"PHONON_ALLOWED_IPS": " , "},
        {"PHONON_TRUSTED_PROXIES": ","},
        {"PHONON_BASIC_AUTH": ":"},
        {"PHONON_WINDOWS": "60m,1h"},
        {"PHONON_RANKINGS": "flows:2h:5"},
        {"PHONON_RANKINGS": "flows:1h:5,flows:1h:6"},
    ],
)
def test_what_is_unknown_or_contradicts_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="PHONON_"):
        read_settings(environ)


@pytest.mark.parametrize("servers", [" ", ",", ":::", "a:b", "a:0", "a:70000", "a:1;b:2", "a:1,,b:2", "a/b"])
def test_bootstrap_servers_that_are_none_are_named(servers: str) -> None:
    with pytest.raises(SettingsError, match=r"^KAFKA_BOOTSTRAP_SERVERS is "):
        read_settings({"KAFKA_BOOTSTRAP_SERVERS": servers})


@pytest.mark.parametrize("servers", ["a", "a:1", "a.b-c_d:9092, 10.0.0.1:1", "[::1]:9092", "SASL_SSL://a:1,b:65535"])
def test_bootstrap_servers_are_taken_as_librdkafka_takes_them(servers: str) -> None:
    assert read_settings({"KAFKA_BOOTSTRAP_SERVERS": servers}).kafka["bootstrap.servers"] == servers


@pytest.mark.parametrize("path", ["x" * 5000, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n"], ids=["long", "a key"])
def test_what_is_no_file_is_said_and_a_key_not_shown(path: str) -> None:
    """The error was the operating system's: it named no setting, ended with code 1, and showed the key."""
    with pytest.raises(SettingsError, match=r"^KAFKA_SSL_KEY_LOCATION: cannot read ") as error:
        read_settings({"KAFKA_SSL_KEY_LOCATION": path})
    assert "c2VjcmV0" not in str(error.value)


def test_a_short_answer_time_needs_no_other_setting() -> None:
    assert read_settings({"PHONON_ANSWER_WITHIN": "0.5"}).answer_within == 0.5


def test_secrets_come_from_files_too_and_are_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-a-file\n", "utf-8-sig")  # as some editors write
    settings = read_settings({"PHONON_TOKEN_FILE": str(file), "KAFKA_SASL_PASSWORD": "swordfish"})
    assert settings.token == "from-a-file"
    passwords = {"KAFKA_SASL_PASSWORD": "swordfish", "SCHEMA_REGISTRY_URL": "https://us:swordfish@registry/path"}
    shown = repr(read_settings(TOGETHER | passwords))
    assert not [value for value in (*(GOOD[name] for name in SECRETS), "swordfish") if value in shown]


@pytest.mark.parametrize(
    "url", ["ftp://u:swordfish@host", "http://u:swordfish@", "http://u:swordfish@h:0", "http://h x"]
)
def test_a_registrys_address_is_checked_and_never_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="SCHEMA_REGISTRY_URL") as error:
        read_settings({"SCHEMA_REGISTRY_URL": url})
    assert "swordfish" not in str(error.value)


def test_the_environment_wins_over_the_env_file_and_empty_is_not_set() -> None:
    dotenv = {"PHONON_PORT": "1111", "PHONON_REGION": "US", "PHONON_TOKEN": None}
    settings = read_settings({"PHONON_PORT": "2222", "PHONON_REGION": "", "KAFKA_LINGER_MS": "7"}, dotenv)
    assert (settings.port, settings.region, settings.token) == (2222, "US", None)
    assert settings.kafka == {"bootstrap.servers": "localhost:9092", "linger.ms": "7"}


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        *[("raw_topic", text, True) for text in ("true", "TRUE", "1", "yes")],
        *[("register_schemas", text, False) for text in ("false", "False", "0", "no")],
        *[("port", text, int(text)) for text in ("0", "65535")],
        *[("max_body_bytes", text, int(text)) for text in ("1024", "67108864")],
        *[("topic_replication", text, int(text)) for text in ("1", "100")],
        ("answer_within", "0.5", 0.5),
        ("windows", "999999m, 3h,4d", (Window("999999m", 59_999_940), Window("3h", 10_800), Window("4d", 345_600))),
        ("rankings", "flows:5m:1, busy:1h:9999:0", (Ranked("flows", "5m", 1, None), Ranked("busy", "1h", 9999, 0))),
        (
            "allowed_ips",
            "10.0.0.0/8, 203.0.113.7 2001:db8::/32",
            networks("10.0.0.0/8", "203.0.113.7", "2001:db8::/32"),
        ),
        ("receiver_metrics_url", "http://a:9100/metrics https://b", ("http://a:9100/metrics", "https://b")),
        ("alert_webhook_url", "http://a/ http://b/?k http://a/", ("http://a/", "http://b/?k")),
        ("pseudonym_key", "8 letters"[:8], "8 letters"[:8]),
        ("groups", "g.CSV", Path("g.CSV")),
        ("topic_prefix", "a" * 100, "a" * 100),
    ],
)
def test_a_value_is_read_as_it_is_meant(name: str, text: str, read: object) -> None:
    assert getattr(read_settings({f"PHONON_{name.upper()}": text}), name) == read


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "65536"), ("port", "-1"),
        ("max_body_bytes", "1023"), ("max_body_bytes", "67108865"), ("topic_replication", "101"),
        ("answer_within", "0.0"), ("answer_within", "1e3"),
        ("windows", "0m"), ("windows", "1m,"), ("windows", "1000000m"),
        ("rankings", "flows:1h:0"), ("rankings", "flows:1h:10000"), ("rankings", "flows:1h:1,"),
        ("receiver_metrics_url", "http://a:65536/metrics"), ("receiver_metrics_url", "http://a..b"),
        ("pseudonym_key", "7 chars"), ("topic_prefix", "a" * 101), ("webhook_path", "/a/"),
    ],
)  # fmt: skip
def test_a_value_just_beyond_is_refused(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"PHONON_{name.upper()}"):
        read_settings({f"PHONON_{name.upper()}": text})


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_holds_nothing_is_no_credential_left_out(name: str, tmp_path: Path) -> None:
    """A secret that was not written yet would be an open door."""
    (tmp_path / "secret").write_text(" \n")
    with pytest.raises(SettingsError, match=f"{name}: .* is empty"):
        read_settings({name: str(tmp_path / "secret")})
