"""The settings of all our programs: each listed once, read once, frozen.

The environment is an argument; no file is read but those that settings name. Both services read the same list, so that
one `.env` file serves both and a name that neither knows stops the start. Secrets are hidden in `repr`. Source:
contract, section 6.
"""

import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

PREFIX: Final = "PHONON_"
MINUTE: Final = 60

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(ValueError):
    """A setting that is unknown, unreadable, or at odds with another; the text is one line that names it."""


class Window(NamedTuple):
    """A rolling window: its name as set, and its length."""

    name: str
    seconds: int


class Ranked(NamedTuple):
    """A ranking: by which metric of which window, how many DIDs from either end, and the least that one rests on."""

    metric: str
    window: str
    number: int
    least: int | None

    @property
    def key(self) -> str:
        """What it is known by; no two rankings share it."""
        return f"{self.metric}:{self.window}"


def _text(value: str) -> str:
    return value


def _flag(value: str) -> bool:
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
    except KeyError:
        raise ValueError("expected true or false") from None


def _whole(least: int, most: int = 2**63 - 1) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not re.fullmatch(r"\d{1,18}", value) or not least <= int(value) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return int(value)

    return read


def _seconds(value: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", value) or not float(value):
        raise ValueError("expected seconds above 0, for example 4 or 2.5")
    return float(value)


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return value

    return read


def _windows(value: str) -> tuple[Window, ...]:
    def read(name: str) -> Window:
        match = re.fullmatch(r"([1-9]\d{0,5})([mhd])", name)
        if not match:
            raise ValueError("expected whole minutes, hours or days, for example 5m,1h,24h")
        return Window(name, int(match[1]) * {"m": MINUTE, "h": 60 * MINUTE, "d": 24 * 60 * MINUTE}[match[2]])

    windows = tuple(read(name.strip()) for name in value.split(","))
    if len({window.seconds for window in windows}) < len(windows):
        raise ValueError("expected windows of different lengths")
    return windows


def _groups_file(value: str) -> Path:
    if not value.lower().endswith((".csv", ".toml")):
        raise ValueError("expected a file that ends in .csv or .toml")
    return Path(value)


def _rankings(value: str) -> tuple[Ranked, ...]:
    def read(one: str) -> Ranked:
        match = re.fullmatch(r"(\w+):(\w+):([1-9]\d{0,3})(?::(\d{1,9}))?", one)
        if not match:
            raise ValueError("expected metric:window:N or metric:window:N:least, for example busy:1h:10:30")
        return Ranked(match[1], match[2], int(match[3]), None if match[4] is None else int(match[4]))

    rankings = tuple(read(one.strip()) for one in value.split(",") if value.strip())
    if len({ranking.key for ranking in rankings}) < len(rankings):
        raise ValueError("expected each metric and window once")
    return rankings


def _networks(value: str) -> tuple[Network, ...]:
    try:
        networks = tuple(ipaddress.ip_network(item) for item in re.split(r"[\s,]+", value.strip()) if item)
    except ValueError:
        networks = ()
    if value and not networks:
        raise ValueError("expected addresses or networks, for example 203.0.113.7, 10.0.0.0/8")
    return networks


def _addresses(value: str) -> tuple[str, ...]:
    addresses = tuple(re.split(r"[\s,]+", value.strip())) if value.strip() else ()
    if not all(re.fullmatch(r"https?://[^/@\s?#]+(/[^\s?#]*)?", one) and _has_host(one) for one in addresses):
        raise ValueError("expected addresses, for example http://127.0.0.1:9100/metrics, with spaces between several")
    return addresses


def _webhooks(value: str) -> tuple[str, ...]:
    """Addresses to post to. They may hold a token or user:password@, and are never shown."""
    urls = tuple(dict.fromkeys(value.split()))
    if not all(re.fullmatch(r"https?://[^\s#]+", url) and _has_host(url) for url in urls):
        raise ValueError("expected http(s)://[user:password@]host[:port][/path][?query], with spaces between several")
    return urls


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")  # what looks a name up does so, and fails where a label is empty
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _zone(value: str) -> ZoneInfo:
    if value not in available_timezones():
        raise ValueError("expected a time zone of the IANA database, for example Asia/Kolkata")
    return ZoneInfo(value)


def _region(value: str) -> str:
    if not re.fullmatch(r"[A-Z]{2}", value):
        raise ValueError("expected a two-letter region, for example IN")
    return value


def _path(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
        raise ValueError("expected a path such as /webhooks/phonon, without a slash at its end")
    return value


def _prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", value):
        raise ValueError("expected letters, digits, dots, dashes and underscores")
    return value


def _basic(value: str) -> str:
    if ":" not in value or value == ":":
        raise ValueError("expected user:password")
    return value


def _signing(value: str) -> str:
    """Secrets to sign with; what holds none would be no check at all."""
    if not value.split():
        raise ValueError("expected whsec_ and base64, several with spaces between them")
    return value


def _token(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~+=-]+", value):
        raise ValueError("expected letters, digits or . _ ~ + = -")
    return value


def _setting(read: Callable[[str], Any], default: str | None, doc: str, *, secret: bool = False) -> Any:
    """A field: its reader, its default as one would write it (None: not set), and its line in the README."""
    return field(repr=not secret, metadata={"read": read, "default": default, "doc": doc, "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. A field `answer_within` is `PHONON_ANSWER_WITHIN` in the environment."""

    host: str = _setting(_text, "127.0.0.1", "address the webhook listens on")
    port: int = _setting(_whole(0, 65535), "8080", "port of the webhook")
    webhook_path: str = _setting(_path, "/webhooks/phonon", "path of the webhook")
    management_host: str = _setting(_text, "127.0.0.1", "address of the management port")
    management_port: int = _setting(_whole(0, 65535), "9100", "port of /healthz, /readyz and /metrics")
    dashboard_host: str = _setting(_text, "127.0.0.1", "address of the live page")
    dashboard_port: int = _setting(_whole(0, 65535), "8090", "port of the live page")
    dashboard_basic_auth: str | None = _setting(
        _basic, None, "user:password for the live page; empty: the receiver's credentials", secret=True
    )
    receiver_metrics_url: tuple[str, ...] = _setting(
        _addresses,
        "",
        "addresses of the receivers' /metrics, for the live page; empty: PHONON_MANAGEMENT_HOST and _PORT",
    )
    max_body_bytes: int = _setting(
        _whole(1024, 64 * 1024 * 1024), "1048576", "largest body in bytes, also after inflating"
    )
    answer_within: float = _setting(_seconds, "4", "every delivery is answered within this many seconds")
    stall_after: float = _setting(
        _seconds,
        "1",
        "seconds without an acknowledgement until Kafka counts as unhealthy; at most a quarter of the answer time",
    )
    max_in_flight: int = _setting(_whole(1), "1000", "deliveries in flight per process; more get 503")
    producers: int = _setting(
        _whole(1, 64), "4", "Kafka producers per process; more if Kafka is far away, best a divisor of the partitions"
    )

    basic_auth: str | None = _setting(_basic, None, "user:password that senders must send", secret=True)
    token: str | None = _setting(
        _token, None, "token that senders must send, as bearer or as the last path segment", secret=True
    )
    signing_secret: str | None = _setting(
        _signing, None, "Standard Webhooks secrets, space-separated for rotation", secret=True
    )
    allowed_ips: tuple[Network, ...] = _setting(_networks, "", "addresses or networks that may post; empty: any")
    trusted_proxies: tuple[Network, ...] = _setting(_networks, "", "proxies whose X-Forwarded-For is trusted")
    allow_anonymous: bool = _setting(_flag, "false", "allow listening beyond loopback without credentials")

    topic_prefix: str = _setting(_prefix, "phonon", "prefix of all topic names")
    topic_partitions: int = _setting(_whole(1, 10_000), "8", "partitions of each topic")
    topic_replication: int = _setting(_whole(1, 100), "1", "replicas of each partition; use 3 in production")
    raw_topic: bool = _setting(_flag, "false", "also publish raw bodies to a topic, for replay --from-raw")
    register_schemas: bool = _setting(_flag, "true", "register schemas at start; false: only look them up")

    timezone: ZoneInfo = _setting(_zone, "Asia/Kolkata", "time zone of times sent without an offset")
    region: str = _setting(_region, "IN", "region of numbers sent without a country code")
    content: str = _setting(
        _one_of("keep", "drop"), "keep", "drop: remove texts, subjects, keys and labels pressed, values, URL queries"
    )
    numbers: str = _setting(
        _one_of("keep", "pseudonymise"), "keep", "pseudonymise: replace callers and recipients with tokens"
    )
    pseudonym_key: str | None = _setting(
        _text, None, "key of those tokens, at least 8 characters; if set, metrics tell callers apart", secret=True
    )

    spool_dir: Path = _setting(Path, "./spool", "folder for deliveries that wait for Kafka")
    spool_max_bytes: int = _setting(_whole(1024), "1073741824", "size limit of the spool in bytes; beyond it 507")
    drain_rate: int = _setting(_whole(1), "1000", "at most this many spooled deliveries are published a second")

    windows: tuple[Window, ...] = _setting(_windows, "5m,1h,24h", "rolling windows of the metrics")
    state_dir: Path = _setting(Path, "./state", "working folder of a metrics worker")
    alert_rules: Path | None = _setting(Path, None, "TOML file of alert rules; empty: no alerts")
    alert_webhook_url: tuple[str, ...] = _setting(
        _webhooks, "", "where `notify` POSTs alerts; separate several with spaces", secret=True
    )
    alert_webhook_secret: str | None = _setting(
        _signing, None, "Standard Webhooks secrets for `notify` to sign with; empty: unsigned", secret=True
    )
    groups: Path | None = _setting(_groups_file, None, "CSV or TOML file of groups of DIDs; empty: no groups")
    rankings: tuple[Ranked, ...] = _setting(
        _rankings, "", "best and worst DIDs to publish: metric:window:N[:least], separated by commas"
    )

    log_level: str = _setting(_one_of("debug", "info", "warning", "error"), "info", "lowest level that is logged")
    log_format: str = _setting(_one_of("console", "json"), "console", "format of log lines: console or json")

    kafka: Mapping[str, str] = field(repr=False)
    schema_registry_url: str | None = field(default=None, repr=False)  # it may hold a password


NAMES: Final[Mapping[str, Any]] = MappingProxyType({PREFIX + f.name.upper(): f for f in fields(Settings) if f.metadata})
SECRETS: Final = tuple(name for name, f in NAMES.items() if f.metadata["secret"])
FILES: Final = tuple(f"{name}_FILE" for name in (*SECRETS, f"{PREFIX}ALLOWED_IPS"))
FILES_OF_KAFKA: Final = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.keystore.location")
#: What the receiver's promise stands on; setting it otherwise would break the promise silently.
PROMISED: Final = {"acks": {"all", "-1"}, "enable.idempotence": {"true"}, "partitioner": {"murmur2", "murmur2_random"}}


def read_settings(environ: Mapping[str, str], dotenv: Mapping[str, str | None] = MappingProxyType({})) -> Settings:
    """The settings from the environment over those of a `.env` file; raises SettingsError.

    An empty value counts as not set.
    """
    given = {name: value for source in (dotenv, environ) for name, value in source.items() if value}
    unknown = sorted(name for name in given if name.startswith(PREFIX) and name not in NAMES and name not in FILES)
    if unknown:
        near = difflib.get_close_matches(unknown[0], (*NAMES, *FILES), 1, cutoff=0.85)
        meant = f"did you mean {near[0]}? The" if near else "the"
        raise SettingsError(f"unknown setting {unknown[0]}: {meant} README lists all of them")
    values = {f.name: _read(name, f, given) for name, f in NAMES.items()}
    return _checked(Settings(**values, kafka=_kafka(given), schema_registry_url=_registry_url(given)), given)


def _registry_url(given: Mapping[str, str]) -> str | None:
    """The registry's address; it is never shown, since it may hold a password."""
    url = given.get("SCHEMA_REGISTRY_URL")
    if url is None:
        return None
    if not re.fullmatch(r"https?://[^\s?#]+", url) or not _has_host(url):
        raise SettingsError("SCHEMA_REGISTRY_URL: expected http(s)://[user:password@]host[:port][/path]")
    return url


def _read(name: str, f: Any, given: Mapping[str, str]) -> Any:
    value = given.get(name)
    if f"{name}_FILE" in FILES and f"{name}_FILE" in given:
        if value is not None:
            raise SettingsError(f"{name} and {name}_FILE are both set: keep one")
        value = _content(f"{name}_FILE", given[f"{name}_FILE"])
    if value is None:
        value = f.metadata["default"]
    try:
        return None if value is None else f.metadata["read"](value)
    except ValueError as error:
        shown = "" if f.metadata["secret"] else f" is {value!r}"
        raise SettingsError(f"{name}{shown}: {error}") from None


def _content(name: str, path: str) -> str:
    try:
        content = Path(path).read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}: cannot read {path!r} ({type(error).__name__})") from None
    if not content:
        raise SettingsError(f"{name}: {path!r} is empty")
    return content


def kafka_setting(name: str) -> str:
    """The setting of a librdkafka property: "linger.ms" -> KAFKA_LINGER_MS."""
    return f"KAFKA_{name.upper().replace('.', '_')}"


def _kafka(given: Mapping[str, str]) -> Mapping[str, str]:
    """KAFKA_X_Y is the librdkafka property x.y."""
    sent = {name[6:].lower().replace("_", "."): v for name, v in given.items() if name.startswith("KAFKA_")}
    for name in FILES_OF_KAFKA:
        path = sent.get(name, "probe")
        if path != "probe" and not os.access(path, os.R_OK):
            shown = "what is no file" if "\n" in path else repr(path)  # the key itself, perhaps
            raise SettingsError(f"{kafka_setting(name)}: cannot read {shown}")
    servers = sent.get("bootstrap.servers")
    if servers is not None and not all(map(_is_server, servers.split(","))):
        raise SettingsError(f"KAFKA_BOOTSTRAP_SERVERS is {servers!r}: expected host:port, with commas between several")
    return MappingProxyType({"bootstrap.servers": "localhost:9092"} | sent)


def _is_server(text: str) -> bool:
    match = re.fullmatch(r"\s*(\w+://)?(\[[^\[\]\s]+\]|[^:/\[\]\s]+)(:(\d{1,5}))?\s*", text, re.ASCII)
    return match is not None and 0 < int(match[4] or 1) <= 65535


def _checked(settings: Settings, given: Mapping[str, str]) -> Settings:
    """The same settings; raises SettingsError where they contradict each other."""
    if "PHONON_STALL_AFTER" in given and settings.stall_after >= settings.answer_within:
        raise SettingsError("PHONON_STALL_AFTER must be below PHONON_ANSWER_WITHIN, or every outage is a late answer")
    if settings.numbers == "pseudonymise" and not settings.pseudonym_key:
        raise SettingsError("PHONON_NUMBERS=pseudonymise needs PHONON_PSEUDONYM_KEY of at least 8 characters")
    if settings.pseudonym_key is not None and len(settings.pseudonym_key) < 8:
        raise SettingsError("PHONON_PSEUDONYM_KEY: expected at least 8 characters")
    if settings.raw_topic and (settings.content == "drop" or settings.numbers == "pseudonymise"):
        other = "PHONON_CONTENT=drop" if settings.content == "drop" else "PHONON_NUMBERS=pseudonymise"
        raise SettingsError(f"PHONON_RAW_TOPIC=true keeps all that {other} takes out: only one of the two can hold")
    strange = {ranking.window for ranking in settings.rankings} - {window.name for window in settings.windows}
    if strange:
        raise SettingsError(f"PHONON_RANKINGS: {min(strange)} is no window of PHONON_WINDOWS")
    for name, allowed in PROMISED.items():
        if settings.kafka.get(name, next(iter(allowed))).lower() not in allowed:
            raise SettingsError(f"{kafka_setting(name)} must be {' or '.join(sorted(allowed))}")
    return settings


assert all(f.default is MISSING for f in NAMES.values())
