"""The whole call on one record: which legs belong to which DID's flow, and what they add up to.

Pure. A customer's leg and an agent's leg are never added up: one call is one flow. Source: contract, section 4, Flow.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from app.events import CallLeg, Common, Flow
from app.menu import Menu

UNKNOWN_DID: Final = "unknown"
MOST_LONG: Final = 2**63 - 1  # the sum of durations that no call has may be more than a record can hold


class Messages(Struct, gc=False):
    """What the main flow holds besides legs, in counts."""

    sms: int
    emails: int
    keys: int
    recordings: int
    rejected: int


#: What the other flows of a delivery hold besides legs.
NO_MESSAGES: Final = Messages(0, 0, 0, 0, 0)


def main_did(legs: list[CallLeg]) -> str:
    """The DID of what has no field for one: of the first visitor leg that has one, else of the first leg that has."""
    found = UNKNOWN_DID
    for leg in legs:
        if leg.did != UNKNOWN_DID:
            if leg.role == "VISITOR":
                return leg.did
            found = leg.did if found == UNKNOWN_DID else found
    return found


def by_did(legs: list[CallLeg], main: str) -> Iterable[tuple[str, list[CallLeg]]]:
    """The legs of each flow by its DID; the main flow comes first and takes all but the visitor legs of other DIDs."""
    flows: dict[str, list[CallLeg]] = {main: []}
    for leg in legs:
        own = leg.role == "VISITOR" and leg.did != UNKNOWN_DID
        flows.setdefault(leg.did if own else main, []).append(leg)
    return flows.items()


def flow(legs: list[CallLeg], messages: Messages, menu: Menu, common: Common) -> Flow:
    """What its legs add up to. Times in ms since 1970 UTC, spans in ms."""
    visitors: list[CallLeg] = []
    reached_agents: list[CallLeg] = []
    starts: list[int] = []
    ends: list[int] = []
    dtmf_count = talk_ms = 0
    reached = False
    for leg in legs:  # one pass: six comprehensions would cost three times as much
        dtmf_count += leg.dtmf_count
        if leg.started_at is not None:
            starts.append(leg.started_at)
        if leg.ended_at is not None:
            ends.append(leg.ended_at)
        if leg.role == "VISITOR":
            visitors.append(leg)
            reached |= leg.answered
            talk_ms += leg.talk_ms or 0
        elif leg.role == "AGENT" and leg.answered:
            reached_agents.append(leg)
    last = visitors[-1] if visitors else None
    event_id, flow_id, did, occurred_at, received_at, anomalies, extra = common
    return Flow(  # by position, as events.py says
        event_id,
        flow_id,
        did,
        occurred_at,
        received_at,
        anomalies,
        extra,
        messages is not NO_MESSAGES,
        last.direction if last else "UNKNOWN",
        last.disposition if last else "UNKNOWN",
        reached,
        bool(reached_agents),
        min(starts) if starts else None,
        max(ends) if ends else None,
        min(talk_ms, MOST_LONG),
        _time_to_agent_ms(visitors, reached_agents) if reached_agents else None,
        legs,
        dtmf_count,
        messages.sms,
        messages.emails,
        messages.keys,
        messages.recordings,
        messages.rejected,
        None,  # its caller: whoever knows the key tells it
        menu.path,
        menu.time_to_first_key_ms,
        menu.time_after_last_key_ms,
    )


def _time_to_agent_ms(visitors: list[CallLeg], reached_agents: list[CallLeg]) -> int | None:
    """How long the visitor waited for a person, from the first answer; None where there is no such wait."""
    visitor = min((leg.connected_at for leg in visitors if leg.connected_at is not None), default=None)
    agent = min((leg.connected_at for leg in reached_agents if leg.connected_at is not None), default=None)
    return agent - visitor if visitor is not None and agent is not None and agent >= visitor else None
