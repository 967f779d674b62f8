"""Where each setting's value comes from, for a person who asks what holds. Pure.

It follows `read_settings`: the environment over the `.env` file, a `_FILE` beside a name that may have one, else the
default. Secrets are never among the values, only whether they are set. What may hold one in librdkafka's own properties
is told by name; an address loses its user and password.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from schemas.settings import FILES, NAMES, SECRETS

ENVIRONMENT, DOTENV, DEFAULT, FILE = "environment", ".env", "default", "file"
_SECRET_OF_KAFKA: Final = re.compile(r"PASSWORD|SECRET|TOKEN|ASSERTION|CREDENTIAL|OAUTHBEARER_CONFIG|_PEM$|JAAS")
_OTHERS: Final = MappingProxyType({"KAFKA_BOOTSTRAP_SERVERS": "localhost:9092", "SCHEMA_REGISTRY_URL": None})


class Effective(NamedTuple):
    """One setting: its value as one would write it (None: not set, or a secret), and where that comes from."""

    name: str
    value: str | None
    is_set: bool
    is_secret: bool
    source: str

    @property
    def shown(self) -> str:
        """The value for a person."""
        if self.is_secret:
            return "set, hidden" if self.is_set else "not set"
        return self.value or ("" if self.is_set else "not set")


def effective(environ: Mapping[str, str], dotenv: Mapping[str, str | None] = MappingProxyType({})) -> list[Effective]:
    """All settings that hold, ours first, then Kafka's and the registry's; they are good: `read_settings` took them."""
    given = {
        name: (value, source)
        for values, source in ((dotenv, DOTENV), (environ, ENVIRONMENT))
        for name, value in values.items()
        if value
    }
    ours = [_one(name, f.metadata["default"], given, is_secret=name in SECRETS) for name, f in NAMES.items()]
    kafka = sorted({name for name in given if name.startswith("KAFKA_")} - set(_OTHERS))
    others = [_one(name, default, given, is_secret=False) for name, default in _OTHERS.items()]
    return [*ours, *others, *(_one(name, None, given, is_secret=bool(_SECRET_OF_KAFKA.search(name))) for name in kafka)]


def _one(name: str, default: str | None, given: Mapping[str, tuple[str, str]], *, is_secret: bool) -> Effective:
    file = f"{name}_FILE"
    if file in FILES and file in given:
        return Effective(name, None, True, is_secret, f"{FILE} {given[file][0]}")
    value, source = given.get(name, (default, DEFAULT))
    if name == "SCHEMA_REGISTRY_URL" and value:
        value = _without_user(value)
    return Effective(name, None if is_secret else value, bool(value), is_secret, source)


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
