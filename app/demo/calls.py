"""What happens on a synthetic provider's lines: calls with their legs, presses and messages, as facts and not as text.

Everything is drawn from one `random.Random`, so the same seed makes the same calls. Shares are those of the field:
outbound calls answered 38 %, no answer 30, busy 14, and so on; talk is log-normal with a share of short hang-ups.
A call is drawn from its end backwards, because the end is when the provider pushes, and so "now" for live traffic.
All times are ms since 1970 UTC. Pure.
"""

import itertools
import math
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from app.demo.facts import Call, Leg, Message, Press, Recording

#: How outbound visitor legs end, in percent. Callers of inbound ones reach the IVR, apart from a few network faults.
OUTBOUND: Final = {
    "ANSWERED": 38,
    "NO_ANSWER": 30,
    "BUSY": 14,
    "REJECTED": 6,
    "CANCELLED": 4,
    "BAD_NUMBER": 4,
    "CONGESTION": 2,
    "UNREACHABLE": 2,
}
INBOUND: Final = {"ANSWERED": 96, "CANCELLED": 3, "CONGESTION": 1}
AGENT: Final = {"ANSWERED": 72, "NO_ANSWER": 18, "BUSY": 8, "REJECTED": 2}

#: The causes that the provider sends for each outcome: its own codes up to 16, ITU-T Q.850 from 17.
CAUSES: Final = {
    "ANSWERED": ("16",),
    "BUSY": ("17", "17", "5"),
    "NO_ANSWER": ("19", "19", "18", "3"),
    "REJECTED": ("21", "13"),
    "CANCELLED": ("-1", "487", "26"),
    "BAD_NUMBER": ("28", "22", "12"),
    "UNREACHABLE": ("20", "27"),
    "CONGESTION": ("34", "38", "41", "8"),
}
RING_SECONDS: Final = {
    "ANSWERED": (2, 30),
    "NO_ANSWER": (25, 50),
    "BUSY": (1, 6),
    "REJECTED": (2, 20),
    "CANCELLED": (3, 25),
    "BAD_NUMBER": (0.2, 2),
    "UNREACHABLE": (2, 15),
    "CONGESTION": (0.1, 3),
}

#: An agent's telephone rings for less long than a customer's.
AGENT_RING_SECONDS: Final = RING_SECONDS | {"ANSWERED": (1, 9), "NO_ANSWER": (12, 20), "REJECTED": (1, 8)}

INBOUND_SHARE: Final = 0.45
NO_CALL_SHARE: Final = 0.02
INBOUND_LEGS: Final = {1: 55, 2: 35, 3: 8, 4: 2}
OUTBOUND_AGENT_SHARE: Final = 0.35
SHORT_SHARE: Final = 0.08
SECOND_DID_SHARE: Final = 0.04
TALK_MEAN_S, TALK_SIGMA = 180.0, 0.9
LONGEST_TALK_S: Final = 3_600.0
RECORDED_SHARE: Final = 0.9
ZIPF: Final = 1.1
#: One in so many callers is one of the few who call again and again.
REGULAR_ONE_IN, REGULARS = 4, 250
#: What callers press in a voice menu, by how many keys they have pressed: language, choice, choice below it, anything.
MENU: Final = ("111111112222", "111111222339", "111111111220", "0123456789*#")
#: The menu is the beginning of a call.
MENU_PART: Final = 8

CITIES: Final = ("22", "11", "80", "44", "40", "33")
AGENT_TYPES: Final = ("HARD_PHONE", "HARD_PHONE", "MOBILE", "SOFT_PHONE")
TEXTS: Final = (
    "Thank you for calling. Your request is registered.",
    "Your OTP is 482913. Do not share it.",
    "नमस्ते, आपकी बुकिंग की पुष्टि हो गई है।",
    "Rs. 1,250 (₹1,250) received 👍",
)
KEYS: Final = (
    ("$flow.key.CampaignName", ("bkt_x_ack", "winback", "renewal_may")),
    ("$flow.key.language", ("hi", "en", "mr", "ta")),
    ("$flow.key.menu", ("1", "2", "3", "4")),
    ("$flow.key.customer_tier", ("gold", "silver", "")),
    ("$flow.key.retries", (0, 1, 2)),
    ("$flow.key.opted_in", (True, False)),
    ("$flow.key.score", (0.25, 0.5, 7.5)),
    ("$flow.key.queue", ("sales", "support", "billing")),
    ("$flow.key.voucher", (None, "SAVE10")),
    ("$flow.key.crm", ({"id": 7}, ["a", "b"])),
)


def did_numbers(count: int) -> tuple[str, ...]:
    """The first `count` DIDs of the synthetic provider, E.164; the first is the one of the provider's sample."""
    sample = 43_692_987
    return tuple(f"+91{CITIES[i % len(CITIES)]}{sample + (i // len(CITIES)) * 37 % 6_000_000}" for i in range(count))


def new_uuid(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def pick(rng: Random, shares: dict[Any, int]) -> Any:
    return rng.choices(tuple(shares), weights=tuple(shares.values()))[0]


class Calls:
    """Draws calls. `draw(ended)` is a call whose last leg ended then; DIDs are chosen by Zipf's law."""

    def __init__(self, rng: Random, dids: Sequence[str]) -> None:
        self._rng = rng
        self._dids = dids
        self._weights = tuple(itertools.accumulate(1 / (rank + 1) ** ZIPF for rank in range(len(dids))))

    def did(self) -> str:
        return self._rng.choices(self._dids, cum_weights=self._weights)[0]

    def draw(self, ended: int, *, did: str | None = None, outbound: bool | None = None) -> Call:
        """A call that ended at `ended`; campaigns fix the DID and the direction."""
        rng = self._rng
        call = Call(id=new_uuid(rng), ended=ended)
        number = rng.randrange(10**8)
        visitor = f"+9198{number if number % REGULAR_ONE_IN else number // REGULAR_ONE_IN % REGULARS:08d}"
        if did is not None or rng.random() >= NO_CALL_SHARE:
            inbound = rng.random() < INBOUND_SHARE if outbound is None else not outbound
            call.legs = self._legs(did or self.did(), visitor, inbound)
            _shift(call.legs, ended)
        call.sms = [self._sms(visitor, ended) for _ in range(_poisson(rng, 0.4))]
        call.emails = [self._email(ended) for _ in range(_poisson(rng, 0.15))]
        call.keys = [(name, rng.choice(values)) for name, values in rng.sample(KEYS, rng.randint(2, len(KEYS)))]
        if any(leg.connected is not None for leg in call.legs) and rng.random() < RECORDED_SHARE:
            call.recordings = [self._recording(call)]
        return call

    def _legs(self, did: str, visitor: str, inbound: bool) -> list[Leg]:
        rng = self._rng
        agents = pick(rng, INBOUND_LEGS) - 1 if inbound else int(rng.random() < OUTBOUND_AGENT_SHARE)
        outcome = pick(rng, INBOUND if inbound and not agents else {"ANSWERED": 1} if inbound else OUTBOUND)
        legs = [self._leg(0, outcome, agents=agents)]
        if agents and outcome == "ANSWERED":
            legs += self._agent_legs(legs[0], agents)
        elif (
            outcome != "ANSWERED" and rng.random() < 2 * SECOND_DID_SHARE
        ):  # tried once more, from another of the customer's numbers
            legs.append(self._leg((legs[0].ended or 0) + 2_000, pick(rng, OUTBOUND)))
            legs[1].did = self.did()
        for leg in legs:
            leg.did, leg.number, leg.incoming = leg.did or did, visitor, inbound
        return legs

    def _leg(self, start: int, outcome: str, *, agents: int = 0, ring: dict[str, Any] = RING_SECONDS) -> Leg:
        """A leg that starts at `start`; one that leads to agents is never a short one."""
        rng = self._rng
        leg = Leg(cdr_id=f"{new_uuid(rng)}##pbx-{rng.randint(1, 9)}", outcome=outcome, started=start)
        leg.cause = rng.choice(CAUSES[outcome])
        leg.remote_hangup = rng.random() < 0.5
        rung = start + rng.randint(100, 4_000)
        after = rung + round(1000 * rng.uniform(*ring[outcome]))
        if rng.random() < 0.5 and outcome not in ("BAD_NUMBER", "CONGESTION"):
            leg.ringing, leg.is_ringing = rung, True
        if outcome == "ANSWERED":
            leg.connected = after
            leg.duration = self._talk_ms(short=0.0 if agents else SHORT_SHARE / 0.6)
            after += leg.duration
            leg.presses = self._presses(leg.connected, leg.duration)
        else:
            leg.duration = 0
        leg.ended = after
        return leg

    def _agent_legs(self, visitor: Leg, count: int) -> list[Leg]:
        """Agents rung one after the other while the visitor waits; the first who answers stays to the visitor's end."""
        rng = self._rng
        legs: list[Leg] = []
        at = (visitor.connected or 0) + rng.randint(3_000, 15_000)
        for left in reversed(range(count)):
            leg = self._leg(at, pick(rng, AGENT) if not left else "NO_ANSWER", ring=AGENT_RING_SECONDS)
            leg.callee_type, leg.presses, leg.ringing, leg.is_ringing = rng.choice(AGENT_TYPES), [], None, None
            at = (leg.ended or 0) + 500
            legs.append(leg)
        visitor.ended = max(visitor.ended or 0, at)
        visitor.duration = visitor.ended - (visitor.connected or 0)
        return legs

    def _talk_ms(self, *, short: float) -> int:
        rng = self._rng
        if rng.random() < short:
            return rng.randint(800, 9_900)
        mean = math.log(TALK_MEAN_S) - TALK_SIGMA**2 / 2
        return round(1000 * min(max(rng.lognormvariate(mean, TALK_SIGMA), 10.5), LONGEST_TALK_S))

    def _presses(self, connected: int, talk_ms: int) -> list[Press]:
        rng = self._rng
        if rng.random() < 0.25:
            return []
        times = [connected + rng.randrange(talk_ms) // MENU_PART]
        while rng.random() < 0.5:
            times.append(connected + rng.randrange(talk_ms) // MENU_PART)
        return [
            Press(rng.choice(MENU[min(n, len(MENU) - 1)]), at, rng.choice(("menu", "language")))
            for n, at in enumerate(sorted(times))
        ]

    def _sms(self, visitor: str, ended: int) -> Message:
        rng = self._rng
        sms = Message(id=new_uuid(rng), sender="PHONON", text=rng.choice(TEXTS), sent_at=ended - rng.randint(10, 2_000))
        sms.recipients = [(visitor, "", "")]
        return sms

    def _email(self, ended: int) -> Message:
        rng = self._rng
        email = Message(id=new_uuid(rng), sender="desk@example.com", sent_at=ended - rng.randint(10, 2_000))
        email.subject, email.text = "Your call with us", f"<p>{rng.choice(TEXTS)}</p>"
        email.size_kb = rng.randint(1, 900) / 100
        email.recipients = [
            (f"customer{rng.randrange(10_000)}@example.com", kind, "SENT_TO_QUEUE")
            for kind in ("TO", "CC", "BCC")[: rng.choice((1, 1, 1, 2, 3))]
        ]
        return email

    def _recording(self, call: Call) -> Recording:
        signed = datetime.fromtimestamp(call.ended // 1000, tz=UTC)
        name = f"call_1896_{self._rng.randrange(10**5)}_{call.id}_{signed:%d%m%Y%H%M%S}.mp3"
        query = (
            f"X-Amz-Date={signed:%Y%m%dT%H%M%SZ}&X-Amz-Expires=604800&X-Amz-Signature={self._rng.getrandbits(256):064x}"
        )
        url = f"https://recordings.example.com/1896/{name}?X-Amz-Algorithm=AWS4-HMAC-SHA256&{query}"
        return Recording(file_name=name, url=url, expires_at=int(signed.timestamp()) * 1000 + 604_800_000)


def _poisson(rng: Random, mean: float) -> int:
    limit, count, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        count, product = count + 1, product * rng.random()
    return count


def _shift(legs: list[Leg], ended: int) -> None:
    """Moves legs that were drawn from 0 on so that the last one ends at `ended`."""
    by = ended - max(leg.ended or 0 for leg in legs)
    for leg in legs:
        for name in ("started", "ringing", "connected", "ended"):
            if (at := getattr(leg, name)) is not None:
                setattr(leg, name, at + by)
        for press in leg.presses:
            press.at = (press.at or 0) + by
