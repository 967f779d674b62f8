"""What the synthetic provider may do wrong, and how often: each act changes the facts of a call before it is spelled.

An act leaves of the call what a reader can still know (a forgotten field is a fact that is None), and notes what the
reader must report. So what should come of a delivery stays exactly known. Pure.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from app.demo.facts import Call, Leg


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """Shares of deliveries, 0 to 1, that suffer each kind of trouble."""

    duplicates: float = 0.01
    late: float = 0.02
    bare: float = 0.2
    respelled: float = 0.0
    forgotten: float = 0.0
    garbled: float = 0.0
    unknown: float = 0.0
    contradictory: float = 0.0
    broken: float = 0.0


#: What the provider's documents and sample lead one to expect.
USUAL: Final = Misbehaviour()
#: Everything at once, for tests and for a look at how odd input is kept.
ROUGH: Final = Misbehaviour(
    duplicates=0.03,
    late=0.1,
    bare=0.4,
    respelled=0.5,
    forgotten=0.2,
    garbled=0.1,
    unknown=0.1,
    contradictory=0.1,
    broken=0.05,
)

FORGETTABLE: Final = (
    "cdr_id",
    "callee_type",
    "did",
    "incoming",
    "cause",
    "started",
    "ringing",
    "connected",
    "ended",
    "duration",
    "remote_hangup",
)
#: Sent field, the fact it takes away, and what stands there instead.
GARBAGE: Final[tuple[tuple[str, str, Any], ...]] = (
    ("startTime", "started", "soon"),
    ("connectTime", "connected", "2022-13-45T99:00:00+05:30"),
    ("endTime", "ended", {"at": 1}),
    ("duration", "duration", "two minutes"),
    ("remoteHangup", "remote_hangup", "perhaps"),
    ("incoming", "incoming", [1]),
)
RINGING_LATE_MS: Final = 142 * 24 * 3600 * 1000


def misbehave(call: Call, rng: Random, shares: Misbehaviour) -> None:
    """Does to this call what chance decides."""
    for share, act in (
        (shares.contradictory, contradict),
        (shares.forgotten, forget),
        (shares.garbled, garble),
        (shares.unknown, surprise),
        (shares.broken, break_part),
    ):
        if rng.random() < share:
            act(call, rng)


def forget(call: Call, rng: Random) -> None:
    """Leaves a field out: the flow's id now and then, an SMS's time, or anything of a leg.

    Never the id of a call of nothing but keys: two of them would be one, since nothing else tells them apart.
    """
    told_apart = call.legs or call.sms or call.emails or call.recordings
    if rng.random() < 0.2 and told_apart:
        call.id = None
        call.anomalies.append("phonon-uuid:missing")
    elif call.sms and rng.random() < 0.2:
        rng.choice(call.sms).sent_at = None
    elif call.legs:
        setattr(rng.choice(call.legs), rng.choice(FORGETTABLE), None)


def garble(call: Call, rng: Random) -> None:
    """Puts something unreadable into a leg's field."""
    if not call.legs:
        return
    leg = rng.choice(call.legs)
    sent, fact, value = rng.choice(GARBAGE)
    setattr(leg, fact, None)
    leg.sent[sent] = value
    leg.extra[sent] = json.dumps(value, separators=(",", ":"))
    leg.anomalies.append(f"{sent}:unreadable")


def surprise(call: Call, rng: Random) -> None:
    """Sends what nobody knows yet: a field of the document or of a leg, a kind of callee, a cause."""
    if not call.legs or rng.random() < 0.3:
        call.sent["flowStatus"] = "COMPLETED"
        call.extra["flowStatus"] = '"COMPLETED"'
        return
    leg = rng.choice(call.legs)
    kind = rng.randrange(3)
    if kind == 0:
        leg.sent["trunk"], leg.extra["trunk"] = "t-7", '"t-7"'
    elif kind == 1:
        leg.callee_type = "VOICE_BOT"
    else:
        leg.cause, leg.outcome = "999", "UNKNOWN"


def contradict(call: Call, rng: Random) -> None:
    """Sends what cannot be: a duration in seconds or plainly wrong, a cause that disagrees, ringing months away."""
    if not call.legs:
        return
    leg = rng.choice(call.legs)
    acts: tuple[Callable[[Leg], None], ...] = (_in_seconds, _too_long, _wrong_cause, _ringing_later)
    rng.choice(acts)(leg)


def break_part(call: Call, rng: Random) -> None:
    """Puts a row that is no object at the end of the keys, or sends a section that is no list."""
    if call.sms or rng.random() < 0.5:
        index = len(call.keys)
        call.sent["keys"] = [*({"name": name, "value": value} for name, value in call.keys), "no object"]
        call.rejects.append(("keys", index))
    else:
        call.sent["smsDetails"] = "none"
        call.rejects.append(("smsDetails", None))


def _in_seconds(leg: Leg) -> None:
    if leg.duration is not None:
        leg.duration //= 1000


def _too_long(leg: Leg) -> None:
    if leg.duration is not None:
        leg.duration += 60_000


def _wrong_cause(leg: Leg) -> None:
    leg.cause, leg.outcome = ("17", "BUSY") if leg.outcome == "ANSWERED" else ("16", "ANSWERED")


def _ringing_later(leg: Leg) -> None:
    leg.ringing = (leg.started or 0) + RINGING_LATE_MS
