"""How the synthetic provider spells a call as JSON, and all the ways in which it may do so badly.

Spelling changes the text and never the facts: DIDs with and without +, times with offset, in UTC or bare, numbers as
text, wrapped or bare, keys in any order. What would change the facts is in app/demo/misbehaviour.py. Pure.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any, Final

from app.demo.facts import Call, Leg, Message, Press, Recording

IST: Final = timezone(timedelta(hours=5, minutes=30))
Row = dict[str, Any]
Clock = Callable[[int | None], str | None]

#: What a DID may look like on the wire; the first two are what the provider's own sample holds.
DID_FORMS: Final = ("{0}", "+{0}", "00{0}", "0{1}", "0{0}", "+91 {1}")


def provider_time(at: datetime) -> str:
    """As in the provider's sample: local time with offset, zeros at the end of the fraction left out."""
    fraction = f".{at.microsecond // 1000:03d}".rstrip("0").rstrip(".")
    return f"{at.astimezone(IST):%Y-%m-%dT%H:%M:%S}{fraction}+05:30"


TIMES: Final[tuple[Callable[[datetime], str], ...]] = (
    provider_time,
    lambda at: f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
    lambda at: f"{at.astimezone(IST):%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}",
    lambda at: f"{at.astimezone(IST):%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}000+05:30",
    lambda at: f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}000000+00:00",
)


def spell_numbers(call: Call, rng: Random, *, forms: int) -> None:
    """Chooses how each leg writes its numbers, out of the first `forms` forms."""
    for leg in call.legs:
        if leg.did is not None:
            leg.did_sent = rng.choice(DID_FORMS[:forms]).format(leg.did[1:], leg.did[3:])
        leg.number_sent = rng.choice(("{0}", "{0}", "+{0}")[: max(2, forms)]).format(leg.number.removeprefix("+"))


def document(call: Call, rng: Random, *, respelled: bool) -> Row:
    """The delivery's document, not yet wrapped."""
    clock = _clock(rng.choice(TIMES) if respelled else provider_time)
    loose = respelled and rng.random() < 0.5
    sections: Row = {
        "phonon-uuid": call.id,
        "callDetails": [_leg(leg, clock, loose=loose) for leg in call.legs] or None,
        "smsDetails": [_sms(sms, clock) for sms in call.sms] or None,
        "emailDetails": [_email(email, clock) for email in call.emails] or None,
        "keys": [{"name": name, "value": value} for name, value in call.keys] or None,
        "recordingUrls": [_recording(recording) for recording in call.recordings] or None,
    }
    return _told(sections) | call.sent


def render(content: Row, rng: Random, *, bare: bool, shuffled: bool) -> bytes:
    """The bytes of one push; a retry is shuffled: other key order, other white space, perhaps escaped."""
    if shuffled:
        content = _shuffle(content, rng)
    whole = content if bare else {"body": content}
    indent = rng.choice((None, 2)) if shuffled else None
    return json.dumps(whole, indent=indent, ensure_ascii=shuffled and rng.random() < 0.5).encode()


def _clock(form: Callable[[datetime], str]) -> Clock:
    epoch = datetime.fromtimestamp(0, tz=UTC)
    return lambda at: None if at is None else form(epoch + timedelta(milliseconds=at))


def _told(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None}


def _leg(leg: Leg, clock: Clock, *, loose: bool) -> Row:
    duration = None if leg.duration is None else leg.duration if loose else str(leg.duration)
    row = {
        "cdrId": leg.cdr_id,
        "startTime": clock(leg.started),
        "connectTime": clock(leg.connected),
        "endTime": clock(leg.ended),
        "calleeNumber": leg.number_sent,
        "didNumber": leg.did_sent,
        "hangupCause": leg.cause,
        "duration": duration,
        "dtmfPressesd": [_press(press, clock) for press in leg.presses],
        "incoming": _truth(leg.incoming, text=loose),
        "calleeType": leg.callee_type,
        "remoteHangup": _truth(leg.remote_hangup, text=loose),
        "is_ringing": _truth(leg.is_ringing, text=not loose),
        "ringingStartTime": clock(leg.ringing),
        "foreignCallIds": leg.foreign_ids,
    }
    return _told(row) | leg.sent


def _truth(value: bool | None, *, text: bool) -> bool | str | None:
    return str(value).lower() if text and value is not None else value


def _press(press: Press, clock: Clock) -> Row:
    return _told({"key": press.key, "eventTime": clock(press.at), "label": press.label})


def _sms(sms: Message, clock: Clock) -> Row:
    row = {
        "id": sms.id,
        "text": sms.text,
        "to": sms.recipients[0][0].removeprefix("+"),
        "from": sms.sender,
        "sendTime": clock(sms.sent_at),
        "deliveryStatus": sms.status,
    }
    return _told(row) | sms.sent


def _email(email: Message, clock: Clock) -> Row:
    row = {
        "id": email.id,
        "subject": email.subject,
        "content": email.text,
        "from": email.sender,
        "size": email.size_kb,
        "addresses": [{"id": a, "type": kind, "deliveryStatus": status} for a, kind, status in email.recipients],
        "sendTime": clock(email.sent_at),
    }
    return _told(row) | email.sent


def _recording(recording: Recording) -> Row:
    return {"recordedFileName": recording.file_name, "recordedFilePublicPath": recording.url}


def _shuffle(value: Any, rng: Random) -> Any:
    """The same JSON value with the members of every object in another order."""
    if isinstance(value, dict):
        names = rng.sample(list(value), len(value))
        return {name: _shuffle(value[name], rng) for name in names}
    return [_shuffle(item, rng) for item in value] if isinstance(value, list) else value
