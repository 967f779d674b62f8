"""From a record's bytes to what of it counts. Pure. What is no flow record raises Undecodable, and nothing else.

Beyond the schema, two things are refused that would harm more than their own DID. An occurred_at far beyond both its
received_at and Kafka's timestamp would carry the whole partition's clock away; no receiver of ours writes one. Amounts
that no call has do come from a receiver, where the provider's times are centuries apart or its duration is that long.
What was not written with the present schema, or not as we write it, is decoded by the codec and written anew: there is
one way from bytes to counts.
"""

from binascii import unhexlify
from bisect import bisect_right as bisect
from hashlib import blake2b
from itertools import product
from typing import Any, Final

from schemas import HEADER_BYTES, HEADERS, SCHEMAS, Resolve, Undecodable, body_at, decode, encode, without_registry
from schemas.memo import Memo
from streams import metrics, paths
from streams.bucket import MINUTE_MS
from streams.decoding import BOOLEAN, compile_reader, enums, numbers, symbols
from streams.histogram import EDGES, FIRST, KINDS
from streams.metrics import LANE, MOST, ONE, SERVED_WITHIN_MS, SHORT_CALL_MS
from streams.windows import Flow

FUTURE_MS: Final = 5 * 60_000  # the receiver puts what lies further ahead at received_at
FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999

_WANTED: Final = dict.fromkeys((
    "event_id", "did", "occurred_at", "reached", "agent_reached", "time_to_agent_ms", "dtmf_count", "sms_count",
    "email_count", "key_count", "recording_count", "caller", "menu_path", "time_to_first_key_ms",
    "time_after_last_key_ms",
)) | {"legs": dict.fromkeys(
    ("role", "direction", "disposition", "answered", "started_at", "ended_at", "ring_ms", "talk_ms")
)}  # fmt: skip
_HEADER: Final = HEADERS["Flow"]
_read_common: Final = compile_reader(SCHEMAS["Flow"], _WANTED, common=True)
_read: Final = compile_reader(SCHEMAS["Flow"], _WANTED)
_ENUMS: Final = enums(SCHEMAS["Flow"])
_LEGS: Final = {
    text: metrics.leg(*values)
    for text, values in symbols(_ENUMS["Role"], _ENUMS["Direction"], _ENUMS["Disposition"], BOOLEAN).items()
}
_FLOWS: Final = {
    (text, to_agent): metrics.flow(reached, agent_reached, to_agent)
    for (text, (reached, agent_reached)), to_agent in product(symbols(BOOLEAN, BOOLEAN).items(), (True, False))
}
_PRESSES: Final = ((1 << 64) - 1) << LANE["dtmf_presses"]
_WITH_KEY, _SILENT, _TRACEABLE = ONE["flows_with_key"], ONE["flows_without_key"], ONE["flows_traceable"]
_LEFT: Final = _WITH_KEY + ONE["flows_dropped_off"]
_KEYS: Final = LANE["first_key_ms"]  # beside it stand first_keys_timed, after_last_key_ms and last_keys_timed
_TALKED, _RUNG_FOR, _WAITED = (FIRST[kind] for kind in KINDS)
_TIMED: Final = ONE["agents_timed"]
_SERVED: Final = _TIMED + ONE["served_in_time"]
_VISITORS: Final = LANE["talk_ms"]  # beside it stand short_calls, ring_ms and rung: put together as small integers
_SHORT, _RUNG = 1 << LANE["short_calls"] - _VISITORS, 1 << LANE["rung"] - _VISITORS
_RING: Final = LANE["ring_ms"] - _VISITORS
_new: Final = tuple.__new__  # of a NamedTuple, in half the time
_AGENT_TALK, _TO_AGENT, _LANE = LANE["agent_talk_ms"], LANE["time_to_agent_ms"], 64

_Leg = tuple[bytes, int | None, int | None, int | None, int | None]


@Memo
def _messages(data: bytes) -> int:
    """What a flow's presses, SMS, e-mails, keys and recordings add, from their bytes; -1 where no call has that."""
    presses, sms, emails, _, recordings = numbers(data)
    if (presses | sms | emails | recordings) >> MOST:
        return -1
    shifts = (LANE[name] for name in ("dtmf_presses", "sms", "emails", "recordings"))
    return sum(count << shift for count, shift in zip((presses, sms, emails, recordings), shifts, strict=True))


def read(value: bytes | None, resolve: Resolve = without_registry, *, timestamp: int = 0) -> Flow:
    """The flow of a record's value. `timestamp`: Kafka's, ms. Raises Undecodable, and UnknownId as `resolve` does."""
    at = 0 if value is None else body_at(value, _HEADER, resolve)
    flow = value is not None and at and _flow(value, at)
    if not flow:
        name, fields = decode(value, resolve)  # says what is wrong
        if name != "Flow":
            raise Undecodable(f"a {name}, not a Flow")
        flow = _flow(encode("Flow", fields), HEADER_BYTES)
        if not flow:
            raise Undecodable("an event_id that is no UUID, or an amount that no call has")
    if not FIRST_MS <= flow.occurred_at <= timestamp + FUTURE_MS:
        _check_time(value, flow.occurred_at, resolve)
    return flow


def _check_time(value: bytes | None, occurred_at: int, resolve: Resolve) -> None:
    """What is too far ahead of Kafka's timestamp must not be as far ahead of the receiver's clock."""
    received_at = decode(value, resolve)[1]["received_at"]
    if not FIRST_MS <= occurred_at <= min(LAST_MS, received_at + FUTURE_MS):
        raise Undecodable("an occurred_at that no receiver writes")


def _flow(value: bytes, begin: int) -> Flow | None:
    """The flow of a body of the present schema as we write it; None for all else."""
    try:
        id_, did, at, reached, to_agent_ms, legs, messages, caller, path, first_ms, last_ms = _fields(value, begin)
        total, amounts, (counts, is_reached, alone), up, tallies = _of_legs(legs, reached, at)
        if to_agent_ms is not None:
            amounts |= to_agent_ms
            counts += (to_agent_ms << _TO_AGENT) + (_SERVED if to_agent_ms <= SERVED_WITHIN_MS else _TIMED)
            tallies.append(_WAITED + bisect(EDGES, to_agent_ms))
        sent = _messages[messages]
        if path is not None:
            tallies.append(paths.NUMBERS[path] | alone << paths.LEFT_BIT)
            amounts |= (first_ms or 0) | (last_ms or 0)
            counts += _of_keys(first_ms, last_ms, alone)
        elif is_reached and not sent & _PRESSES:
            counts += _SILENT
        token = 0
        if caller is not None:
            token = _token(caller)
            if is_reached:
                counts += _TRACEABLE
        if amounts >> MOST or sent < 0:  # also where an amount is negative
            return None
        return _new(Flow, (did.decode(), event_id(id_), at, total + counts + sent, token, alone, up, tallies))
    except (IndexError, ValueError):
        return None


def _fields(value: bytes, begin: int) -> tuple[Any, ...]:
    """The wanted fields of a body. Raises IndexError or ValueError where it is none, or is longer."""
    try:
        fields, end = _read_common(value, begin)
    except ValueError:
        fields, end = _read(value, begin)
    if end != len(value):
        raise ValueError("bytes behind the body")
    return fields


def _of_keys(first_ms: int | None, last_ms: int | None, alone: bool) -> int:
    """What a flow with a key adds; its lanes are put together as small integers."""
    timed = 0
    if first_ms is not None:
        timed = first_ms | 1 << _LANE
    if last_ms is not None:
        timed |= last_ms << 2 * _LANE | 1 << 3 * _LANE
    return (_LEFT if alone else _WITH_KEY) + (timed << _KEYS)


def _token(caller: bytes) -> int:
    """64 bits of a caller's token; never 0."""
    try:
        return int(caller[4:20], 16) or 1
    except ValueError:
        return int.from_bytes(blake2b(caller, digest_size=8).digest()) or 1


def _of_legs(legs: list[_Leg], reached: bytes, at: int) -> tuple[int, int, metrics.Kind, list[int], list[int]]:
    """What the legs add; the bits of all their amounts, to be checked; the flow's kind; legs for `lines`; tallies."""
    total = amounts = timed = agent_talk = 0
    up: list[int] = []
    tallies: list[int] = []
    to_agent, over = False, at - at % MINUTE_MS + MINUTE_MS
    for kind, started, ended, ring_ms, talk_ms in legs:
        counts, visitor, agent, answered = _LEGS[kind]
        total += counts
        to_agent |= agent
        if started is not None and ended is not None and started >= FIRST_MS:
            up += (started, ended if ended < over else over)
        if talk_ms is not None:
            amounts |= talk_ms
            if visitor:
                tallies.append(_TALKED + bisect(EDGES, talk_ms))
                timed += talk_ms + _SHORT if answered and talk_ms < SHORT_CALL_MS else talk_ms
            elif agent:
                agent_talk += talk_ms
        if ring_ms is not None:
            amounts |= ring_ms
            if visitor:
                tallies.append(_RUNG_FOR + bisect(EDGES, ring_ms))
                timed += (ring_ms << _RING) + _RUNG
    if agent_talk:
        total += agent_talk << _AGENT_TALK
    return total + (timed << _VISITORS), amounts, _FLOWS[reached, to_agent], up, tallies


def event_id(text: bytes) -> bytes:
    """The 16 bytes of a UUID's text. Raises ValueError."""
    data = unhexlify(text.replace(b"-", b""))
    if len(data) != 16:
        raise ValueError("an event_id that is no UUID")
    return data
