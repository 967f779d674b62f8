"""Who may post, and how we sign what we post: pure functions over raw bytes, headers and keyword-only time.

Rules: a check returns nothing or raises `Refused`, so that its outcome can't be an ignored bool; every credential that
is configured must pass; all comparisons take as long for a near miss as for a far one; no body is parsed before.
No I/O and no clock, so that property tests can walk through every order of rotation and every second of the window.

Two steps, because only the signature needs the body: `verify_sender` before the body is read, so that a stranger can't
make us read one, and `verify_signature` after it, over the bytes as they came (before inflating).
Source: RFC 7617, RFC 6750, Standard Webhooks 1.0 (`webhook-id`, `webhook-timestamp`, `webhook-signature`).
"""

import binascii
import hashlib
import hmac
import ipaddress
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.problems import Refused
from schemas.settings import Network, Settings, SettingsError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Headers = Mapping[bytes, bytes]

REPLAY_WINDOW_SECONDS: Final = 300
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - all of them begin with it
#: Further signatures are not looked at: no rotation needs more.
MOST_SIGNATURES: Final = 16
#: What keeps the receiver's door.
KEYS: Final = "PHONON_BASIC_AUTH, PHONON_TOKEN, PHONON_SIGNING_SECRET or PHONON_ALLOWED_IPS"
LOOPBACK: Final = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What is configured, ready to compare with. With nothing configured only loopback may post, unless `anonymous`."""

    basic: bytes | None = field(default=None, repr=False)
    token: bytes | None = field(default=None, repr=False)
    signing: tuple[bytes, ...] = field(default=(), repr=False)
    allowed: tuple[Network, ...] = ()
    proxies: tuple[Network, ...] = ()
    anonymous: bool = False

    @property
    def configured(self) -> bool:
        """Whether any credential is set."""
        return bool(self.basic or self.token or self.signing or self.allowed)


def read_credentials(settings: Settings) -> Credentials:
    """The credentials of the settings. Raises SettingsError for a secret that can't be one."""
    return Credentials(
        basic=settings.basic_auth.encode() if settings.basic_auth else None,
        token=settings.token.encode() if settings.token else None,
        signing=signing_keys("PHONON_SIGNING_SECRET", settings.signing_secret),
        allowed=settings.allowed_ips,
        proxies=settings.trusted_proxies,
        anonymous=settings.allow_anonymous,
    )


def refuse_open_door(credentials: Credentials, host: str, *, setting: str = "PHONON_HOST", keys: str = KEYS) -> None:
    """Raises SettingsError if anyone who reaches `host` could come in: no credential, and not only loopback.

    `setting` is the host's name, `keys` what to set for it.
    """
    if credentials.configured or credentials.anonymous or host == "localhost":
        return
    if not _is_loopback(host):
        raise SettingsError(
            f"{setting} is {host!r} but no credential is set: set {keys}, or PHONON_ALLOW_ANONYMOUS=true"
        )


def verify_sender(
    credentials: Credentials, headers: Sequence[tuple[bytes, bytes]], *, peer: str, path_token: str | None = None
) -> None:
    """Raises Refused unless address, Basic and token, as far as configured, all pass."""
    passed = _address_passes(credentials, headers, peer)
    if credentials.basic is not None or credentials.token is not None:
        scheme, given = _authorization(headers)
        if credentials.basic is not None:
            passed &= scheme == b"basic" and _same(_decoded(given), credentials.basic)
        if credentials.token is not None:
            as_bearer = scheme == b"bearer" and _same(given, credentials.token)
            in_path = path_token is not None and _same(path_token.encode("utf-8", "replace"), credentials.token)
            passed &= as_bearer | in_path
    if not passed:
        raise Refused


def verify_signature(credentials: Credentials, headers: Headers, body: bytes, *, now: float) -> None:
    """Raises Refused unless a signature is one of our secrets', over id, time and raw body, within 5 minutes."""
    if not credentials.signing:
        return
    id_, stamp = headers.get(b"webhook-id", b""), headers.get(b"webhook-timestamp", b"")
    fresh = stamp.isdigit() and len(stamp) < 16 and abs(now - int(stamp)) <= REPLAY_WINDOW_SECONDS
    given = headers.get(b"webhook-signature", b"").split(b" ")[:MOST_SIGNATURES]
    matches = False
    for key in credentials.signing:
        expected = _signature(key, id_, stamp, body)
        for signature in given:
            matches |= hmac.compare_digest(signature, expected)
    if not (fresh and matches and id_):
        raise Refused


def signed(keys: Iterable[bytes], id_: str, body: bytes, *, now: int) -> dict[str, str]:
    """The headers of a message of ours: its id, the time in s since 1970, and a signature by each key."""
    signatures = (_signature(key, id_.encode(), b"%d" % now, body).decode() for key in keys)
    return {"webhook-id": id_, "webhook-timestamp": str(now), "webhook-signature": " ".join(signatures)}


def signing_keys(setting: str, secrets: str | None) -> tuple[bytes, ...]:
    """The keys of a setting's secrets. Raises SettingsError for one that can't be one."""
    return tuple(_signing_key(setting, secret) for secret in (secrets or "").split())


def _signature(key: bytes, id_: bytes, stamp: bytes, body: bytes) -> bytes:
    return b"v1," + b64encode(hmac.digest(key, b".".join((id_, stamp, body)), "sha256"))


def _signing_key(setting: str, secret: str) -> bytes:
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise SettingsError(f"{setting}: expected whsec_ and base64, several with spaces between them")
    return key


def _authorization(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """Scheme (lower case) and value of the one Authorization header; two of them count as none."""
    found = [value for name, value in headers if name == b"authorization"]
    scheme, _, given = found[0].strip().partition(b" ") if len(found) == 1 else (b"", b"", b"")
    return scheme.lower(), given.strip()


def _decoded(given: bytes) -> bytes:
    try:
        return b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _same(given: bytes, expected: bytes) -> bool:
    """Equality in a time that depends on neither content; digests, because compare_digest shows a length."""
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())


def _address_passes(credentials: Credentials, headers: Iterable[tuple[bytes, bytes]], peer: str) -> bool:
    if credentials.allowed:
        client = _client(headers, peer, credentials.proxies)
        return client is not None and _within(client, credentials.allowed)
    return credentials.configured or credentials.anonymous or _is_loopback(peer)


def _client(headers: Iterable[tuple[bytes, bytes]], peer: str, proxies: tuple[Network, ...]) -> Address | None:
    """The right-most address that is no trusted proxy of ours; None where there is none to believe.

    Everything left of it was written by someone we do not trust.
    """
    address = _address(peer)
    if address is None or not _within(address, proxies):
        return address
    hops = [hop for name, value in headers if name == b"x-forwarded-for" for hop in value.split(b",")]
    for hop in reversed(hops):
        address = _address(hop.decode("latin-1"))
        if address is None or not _within(address, proxies):
            return address
    return address


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _is_loopback(host: str) -> bool:
    if host in LOOPBACK:
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _address(text: str) -> Address | None:
    """An address, also with a port or in brackets; IPv4 in IPv6 clothes is IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
