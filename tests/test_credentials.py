"""Who may post: every credential alone, all together, and what comes close to one."""

import base64
import hashlib
import hmac
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.credentials import (
    MOST_SIGNATURES,
    Credentials,
    read_credentials,
    refuse_open_door,
    verify_sender,
    verify_signature,
)
from app.credentials import signed as sign
from app.problems import Refused
from schemas.settings import SettingsError, read_settings

NOW = 1_800_000_000
KEYS = (b"first secret of ours", b"second secret of ours")


def sender_passes(
    credentials: Credentials, *headers: tuple[bytes, bytes], peer: str = "203.0.113.9", token: str = ""
) -> bool:
    try:
        verify_sender(credentials, headers, peer=peer, path_token=token or None)
    except Refused:
        return False
    return True


def signed(key: bytes, body: bytes, *, at: int = NOW, id_: bytes = b"msg_1") -> dict[bytes, bytes]:
    digest = hmac.new(key, b"%s.%d.%s" % (id_, at, body), hashlib.sha256).digest()
    signature = b"v1," + base64.b64encode(digest)
    return {b"webhook-id": id_, b"webhook-timestamp": b"%d" % at, b"webhook-signature": signature}


def signature_passes(credentials: Credentials, headers: dict[bytes, bytes], body: bytes, *, now: float = NOW) -> bool:
    try:
        verify_signature(credentials, headers, body, now=now)
    except Refused:
        return False
    return True


def basic(text: bytes) -> tuple[bytes, bytes]:
    return b"authorization", b"Basic " + base64.b64encode(text)


def bearer(text: bytes) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + text


@given(st.binary(max_size=40))
def test_basic_passes_only_what_is_set(given_: bytes) -> None:
    credentials = Credentials(basic=b"user:pass:word")
    assert sender_passes(credentials, basic(b"user:pass:word"))
    assume(given_ != b"user:pass:word")
    assert not sender_passes(credentials, basic(given_))
    assert not sender_passes(credentials, (b"authorization", given_))


def test_schemes_are_case_insensitive_and_two_headers_are_none() -> None:
    credentials = Credentials(basic=b"u:p")
    assert sender_passes(credentials, (b"authorization", b"bAsIc " + base64.b64encode(b"u:p")))
    assert not sender_passes(credentials, basic(b"u:p"), basic(b"u:p"))
    assert not sender_passes(credentials)


def test_other_headers_neither_open_nor_close_the_door() -> None:
    others = (b"host", b"example.org"), (b"x-authorization", basic(b"u:p")[1]), (b"proxy-authorization", b"Basic x")
    for credentials in (Credentials(basic=b"u:p"), Credentials(basic=b"u:p", token=b"t")):
        assert sender_passes(credentials, *others, basic(b"u:p"), others[0], token="t")
        assert not sender_passes(credentials, *others, token="t")
        assert not sender_passes(credentials, others[1], token="t")


@given(st.text(max_size=20))
def test_a_token_passes_as_bearer_or_in_the_path(given_: str) -> None:
    credentials = Credentials(token=b"secret-token")
    assert sender_passes(credentials, bearer(b"secret-token"))
    assert sender_passes(credentials, token="secret-token")
    assert sender_passes(credentials, bearer(b"wrong"), token="secret-token")
    assume(given_ != "secret-token")
    assert not sender_passes(credentials, token=given_)
    assert not sender_passes(credentials, bearer(given_.encode()))


def test_all_that_is_configured_must_pass() -> None:
    credentials = Credentials(basic=b"u:p", token=b"t")
    assert sender_passes(credentials, basic(b"u:p"), token="t")
    assert not sender_passes(credentials, basic(b"u:p"))
    assert not sender_passes(credentials, bearer(b"t"))
    assert not sender_passes(credentials, basic(b"u:x"), token="t")


@given(body=st.binary(max_size=200), off=st.integers(-300, 300), key=st.sampled_from(KEYS))
def test_any_of_the_secrets_signs_within_five_minutes(body: bytes, off: int, key: bytes) -> None:
    assert signature_passes(Credentials(signing=KEYS), signed(key, body), body, now=NOW + off)


@given(st.integers(301, 10**9))
def test_older_and_newer_signatures_are_refused(off: int) -> None:
    for now in (NOW + off, NOW - off):
        assert not signature_passes(Credentials(signing=KEYS), signed(KEYS[0], b"{}"), b"{}", now=now)


@given(place=st.integers(0, 40), flip=st.integers(1, 255))
def test_a_changed_byte_is_refused(place: int, flip: int) -> None:
    body = b"a body that is somewhat longer than forty bytes"
    changed = bytearray(body)
    changed[place] ^= flip
    assert not signature_passes(Credentials(signing=KEYS), signed(KEYS[0], body), bytes(changed))


@given(st.lists(st.sampled_from([b"v1,AAAA", b"v1a,xyz", b"v1,", b"", b"nonsense", b"v2,abc"]), max_size=6), st.data())
def test_one_good_signature_among_others_is_enough(others: list[bytes], data: st.DataObject) -> None:
    headers = signed(KEYS[1], b"{}")
    place = data.draw(st.integers(0, len(others)))
    many = b" ".join([*others[:place], headers[b"webhook-signature"], *others[place:]])
    assert signature_passes(Credentials(signing=KEYS), headers | {b"webhook-signature": many}, b"{}")
    assert not signature_passes(Credentials(signing=KEYS), headers | {b"webhook-signature": b" ".join(others)}, b"{}")


def test_more_signatures_than_a_rotation_needs_are_not_looked_at() -> None:
    headers = signed(KEYS[0], b"{}")
    for others, passes in ((MOST_SIGNATURES - 1, True), (MOST_SIGNATURES, False)):
        many = b" ".join([*[b"v1,AAAA"] * others, headers[b"webhook-signature"]])
        assert signature_passes(Credentials(signing=KEYS), headers | {b"webhook-signature": many}, b"{}") is passes


@pytest.mark.parametrize(("stamp", "passes"), [(b"%015d", True), (b"%016d", False), (b"%d.0", False), (b"+%d", False)])
def test_a_timestamp_is_at_most_fifteen_digits(stamp: bytes, passes: bool) -> None:
    """Whatever is signed with it: int() takes longer than it should for thousands of digits, or raises."""
    at = stamp % NOW
    digest = hmac.new(KEYS[0], b"msg_1.%s.{}" % at, hashlib.sha256).digest()
    headers = signed(KEYS[0], b"{}") | {
        b"webhook-timestamp": at,
        b"webhook-signature": b"v1," + base64.b64encode(digest),
    }
    assert signature_passes(Credentials(signing=KEYS), headers, b"{}") is passes


@given(st.dictionaries(st.sampled_from([b"webhook-id", b"webhook-timestamp", b"webhook-signature"]), st.binary()))
def test_any_headers_are_refused_and_nothing_else_is_raised(headers: dict[bytes, bytes]) -> None:
    assert not signature_passes(Credentials(signing=KEYS), headers, b"{}")


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_needed(name: str) -> None:
    headers = signed(KEYS[0], b"{}")
    del headers[name.encode()]
    assert not signature_passes(Credentials(signing=KEYS), headers, b"{}")


@given(body=st.binary(max_size=200), mine=st.sampled_from(KEYS))
def test_what_we_sign_with_two_secrets_passes_where_either_is_known(body: bytes, mine: bytes) -> None:
    headers = {name.encode(): value.encode() for name, value in sign(KEYS, "msg_1", body, now=NOW).items()}
    assert signature_passes(Credentials(signing=(mine,)), headers, body)
    assert headers[b"webhook-signature"].split() == [signed(key, body)[b"webhook-signature"] for key in KEYS]
    assert not signature_passes(Credentials(signing=(b"another",)), headers, body)


def networks(**settings: str) -> Credentials:
    return read_credentials(read_settings({f"PHONON_{name.upper()}": value for name, value in settings.items()}))


@pytest.mark.parametrize(
    ("peer", "forwarded", "passes"),
    [
        ("203.0.113.9", [], True),
        ("198.51.100.1", [], False),
        ("::ffff:203.0.113.9", [], True),
        ("2001:db8::5", [], True),
        ("192.0.2.7", [], True),
        ("10.0.0.1", ["203.0.113.9"], True),
        ("10.0.0.1", ["198.51.100.1"], False),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], False),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], True),
        ("10.0.0.1", ["203.0.113.9, 10.0.0.2"], True),
        ("10.0.0.1", ["203.0.113.9", "10.0.0.2"], True),
        ("10.0.0.1", ["203.0.113.9:4711"], True),
        ("10.0.0.1", ["[2001:db8::5]:4711"], True),
        ("10.0.0.1", ["nonsense"], False),
        ("10.0.0.1", ["203.0.113.9, nonsense"], False),
        ("10.0.0.1", [], False),
        ("198.51.100.1", ["203.0.113.9"], False),
        ("127.0.0.1", ["203.0.113.9"], False),
        ("", [], False),
    ],
)
def test_addresses(peer: str, forwarded: list[str], passes: bool) -> None:
    credentials = networks(allowed_ips="203.0.113.0/24, 192.0.2.7, 2001:db8::/32", trusted_proxies="10.0.0.0/8")
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    assert sender_passes(credentials, *headers, peer=peer) is passes


@given(st.text(max_size=40), st.lists(st.binary(max_size=40), max_size=3))
def test_any_address_text_is_answered(peer: str, forwarded: list[bytes]) -> None:
    with suppress(Refused):
        credentials = networks(allowed_ips="203.0.113.0/24", trusted_proxies="10.0.0.0/8")
        verify_sender(credentials, [(b"x-forwarded-for", value) for value in forwarded], peer=peer)


def test_without_credentials_only_loopback_may_post() -> None:
    assert sender_passes(Credentials(), peer="127.0.0.1")
    assert sender_passes(Credentials(), peer="127.8.8.8")
    assert sender_passes(Credentials(), peer="::1")
    assert not sender_passes(Credentials(), peer="203.0.113.9")
    assert sender_passes(Credentials(anonymous=True), peer="203.0.113.9")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "203.0.113.9", "example.org"])
def test_no_start_with_an_open_door(host: str) -> None:
    with pytest.raises(SettingsError, match="no credential is set"):
        refuse_open_door(Credentials(), host)
    refuse_open_door(Credentials(token=b"t"), host)
    refuse_open_door(Credentials(anonymous=True), host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_no_credential(host: str) -> None:
    refuse_open_door(Credentials(), host)


def test_secrets_with_and_without_prefix() -> None:
    secret = base64.b64encode(KEYS[0]).decode()
    assert networks(signing_secret=f"whsec_{secret}  {secret}").signing == (KEYS[0], KEYS[0])


@pytest.mark.parametrize("secret", ["whsec_", "whsec_???", "not base64!"])
def test_a_bad_secret_stops_the_start_and_is_not_shown(secret: str) -> None:
    with pytest.raises(SettingsError, match="PHONON_SIGNING_SECRET") as raised:
        networks(signing_secret=secret)
    assert "???" not in str(raised.value)


def test_secrets_are_not_in_repr() -> None:
    shown = repr(Credentials(basic=b"u:hidden", token=b"hidden", signing=(b"hidden",)))
    assert "hidden" not in shown
