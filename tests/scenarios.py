"""What should ring and what should not: flow records of the synthetic provider's calls, in the order of their ends.

Made by the provider's own bookkeeping, which has seen no code of the receiver or the workers.
"""

import uuid
from collections.abc import Callable, Iterable
from random import Random

from app.demo.answers import expected_records
from app.demo.calls import Calls
from app.demo.facts import Call
from tests.flow_oracle import MINUTE, Record

HOUR = 60 * MINUTE


def records(call: Call, rng: Random) -> list[Record]:
    """The Flow records of a call."""
    flows = [fields for record, fields in expected_records(call) if record == "Flow"]
    added = {"received_at": call.ended + 2000}
    return [flow | added | {"event_id": str(uuid.UUID(int=rng.getrandbits(128)))} for flow in flows]


def normal(rng: Random, dids: Iterable[str], begin: int, end: int, rate: float) -> list[Record]:
    """Calls of these DIDs by Zipf's law, `rate` a second."""
    calls, at, made = Calls(rng, list(dids)), float(begin), list[Record]()
    while (at := at + rng.expovariate(rate) * 1000) < end:
        made += records(calls.draw(round(at)), rng)
    return [record for record in made if record["occurred_at"] is not None]


def outbound(
    rng: Random, did: str, ends: Iterable[int], *, answered: float, short: float | None = None
) -> list[Record]:
    """Outbound calls of one DID that end then: a share of them is answered, and of these a share is short."""
    calls, made = Calls(rng, [did]), list[Record]()
    for at in ends:
        wanted = rng.random() < answered
        brief = None if short is None or not wanted else rng.random() < short
        made += records(_draw(calls, did, at, lambda call, w=wanted, b=brief: _is(call, w, b)), rng)  # type: ignore[misc]
    return [record for record in made if record["did"] == did]


def _draw(calls: Calls, did: str, at: int, wanted: Callable[[Call], bool]) -> Call:
    while not wanted(call := calls.draw(at, did=did, outbound=True)):
        pass
    return call


def _is(call: Call, answered: bool, short: bool | None) -> bool:
    leg = call.legs[0]
    return (leg.outcome == "ANSWERED") == answered and (short is None or ((leg.duration or 0) < 10_000) == short)


def every(rng: Random, begin: int, end: int, seconds: float) -> list[int]:
    """Moments from begin to end, so many seconds apart on average."""
    moments, at = [], float(begin)
    while (at := at + rng.expovariate(1 / seconds) * 1000) < end:
        moments.append(round(at))
    return moments
