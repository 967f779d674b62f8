"""What a delivery of the synthetic provider must become: the provider's own bookkeeping of the contract's section 4.

Worked out from the facts of a call, never by the receiver's code, so that a test may compare the two. Every field is
there but `event_id` and `received_at`; `occurred_at` is None where only the receiver knows it. Pure.
"""

import json
from typing import Any, Final, NamedTuple

from app.demo.facts import Call, Leg, Message

Fields = dict[str, Any]

#: An answered leg should not carry these outcomes' causes.
CONTRADICTING: Final = ("BUSY", "NO_ANSWER", "REJECTED", "BAD_NUMBER")

#: What a flow tells of each of its legs.
FLOW_LEG: Final = (
    "cdr_id",
    "role",
    "direction",
    "disposition",
    "answered",
    "started_at",
    "ended_at",
    "setup_ms",
    "ring_ms",
    "talk_ms",
)


class Expected(NamedTuple):
    """One record that must come: its record name and its fields."""

    record: str
    fields: Fields


def expected_records(call: Call) -> list[Expected]:
    """Every record that a delivery of this call must cause, `Rejected` included (without reason and payload)."""
    common: Fields = {"flow_id": call.id, "anomalies": [], "extra": {}}
    main = common | {"did": main_did(call), "occurred_at": flow_time(call)}
    records = [
        *(Expected("CallLeg", common | leg_fields(leg)) for leg in call.legs),
        *(Expected("Dtmf", fields) for leg in call.legs for fields in _presses(common, leg)),
        *(Expected("Sms", main | _sms(call, sms)) for sms in call.sms),
        *(Expected("Email", main | _email(call, email)) for email in call.emails),
        *(Expected("FlowKey", main | {"name": name, "value": _text(value)}) for name, value in call.keys),
        *(
            Expected("Recording", main | {"file_name": r.file_name, "url": r.url, "url_expires_at": r.expires_at})
            for r in call.recordings
        ),
        *(Expected("Flow", common | fields) for fields in flows(call)),
    ]
    for record in records:  # what is odd about the delivery stands on each of its events
        record.fields["anomalies"] = [*call.anomalies, *record.fields["anomalies"]]
    return records + [Expected("Rejected", {"flow_id": call.id, "section": s, "index": i}) for s, i in call.rejects]


def role(leg: Leg) -> str:
    return "UNKNOWN" if leg.callee_type is None else "VISITOR" if leg.callee_type == "VISITOR" else "AGENT"


def direction(leg: Leg) -> str:
    return "UNKNOWN" if leg.incoming is None else "INBOUND" if leg.incoming else "OUTBOUND"


def answered(leg: Leg) -> bool:
    if leg.connected is None:
        return False
    return (leg.started is None or leg.started <= leg.connected) and (leg.ended is None or leg.connected <= leg.ended)


def disposition(leg: Leg) -> str:
    if answered(leg):
        return "ANSWERED"
    if leg.cause is None:
        return "UNKNOWN"
    return "CANCELLED" if leg.outcome == "ANSWERED" else leg.outcome


def leg_fields(leg: Leg) -> Fields:
    """The fields of a CallLeg that come from its row alone."""
    anomalies = list(leg.anomalies)
    ringing, talk = _ringing(leg, anomalies), _talk(leg, anomalies)
    contradicted = leg.outcome in CONTRADICTING if answered(leg) else leg.outcome == "ANSWERED"
    if leg.cause is not None and contradicted:
        anomalies.append("hangupCause:disagrees")
    rung_until = leg.ended if leg.connected is None else leg.connected
    return {
        "did": leg.did or "unknown",
        "occurred_at": next((at for at in (leg.ended, leg.connected, leg.started) if at is not None), None),
        "anomalies": anomalies,
        "extra": dict(leg.extra),
        "cdr_id": leg.cdr_id,
        "role": role(leg),
        "callee_type": leg.callee_type,
        "callee_number": leg.number,
        "did_as_sent": leg.did_sent,
        "direction": direction(leg),
        "started_at": leg.started,
        "ringing_at": ringing,
        "connected_at": leg.connected,
        "ended_at": leg.ended,
        "answered": answered(leg),
        "disposition": disposition(leg),
        "hangup_cause": leg.cause,
        "duration_ms": leg.duration,
        "setup_ms": _span(leg.started, leg.connected),
        "ring_ms": _span(ringing, rung_until),
        "talk_ms": talk,
        "remote_hangup": leg.remote_hangup,
        "is_ringing": leg.is_ringing,
        "dtmf_count": len(leg.presses),
        "foreign_call_ids": leg.foreign_ids,
    }


def main_did(call: Call) -> str:
    """The DID of everything that has no field for one."""
    dids = [leg.did for leg in call.legs if role(leg) == "VISITOR" and leg.did]
    dids += [leg.did for leg in call.legs if leg.did]
    return dids[0] if dids else "unknown"


def flow_time(call: Call) -> int | None:
    ends = [leg.ended for leg in call.legs if leg.ended is not None]
    sent = [m.sent_at for m in (*call.sms, *call.emails) if m.sent_at is not None]
    return max(ends or sent, default=None)


def flows(call: Call) -> list[Fields]:
    """One flow for each visitor DID; the first also holds the other legs and the messages."""
    main, others = main_did(call), dict[str, list[Leg]]()
    own: list[Leg] = []
    for leg in call.legs:
        foreign = role(leg) == "VISITOR" and leg.did and leg.did != main
        (others.setdefault(leg.did or "", []) if foreign else own).append(leg)
    first = _flow(main, own) | {
        "main": True,
        "extra": dict(call.extra),
        "sms_count": len(call.sms),
        "email_count": len(call.emails),
        "key_count": len(call.keys),
        "recording_count": len(call.recordings),
        "rejected_count": len(call.rejects),
    }
    return [fields | {"occurred_at": flow_time(call)} for fields in (first, *(_flow(*rest) for rest in others.items()))]


def _flow(did: str, legs: list[Leg]) -> Fields:
    visitors = [leg for leg in legs if role(leg) == "VISITOR"]
    agents = [leg for leg in legs if role(leg) == "AGENT"]
    none = {f"{kind}_count": 0 for kind in ("sms", "email", "key", "recording", "rejected")}
    return none | {
        "did": did,
        "main": False,
        "caller": None,
        "direction": direction(visitors[-1]) if visitors else "UNKNOWN",
        "disposition": disposition(visitors[-1]) if visitors else "UNKNOWN",
        "reached": any(map(answered, visitors)),
        "agent_reached": any(map(answered, agents)),
        "started_at": min((leg.started for leg in legs if leg.started is not None), default=None),
        "ended_at": max((leg.ended for leg in legs if leg.ended is not None), default=None),
        "talk_ms": sum(_talk(leg, []) or 0 for leg in visitors),
        "time_to_agent_ms": _time_to_agent(visitors, agents),
        "legs": [_flow_leg(leg) for leg in legs],
        "dtmf_count": sum(len(leg.presses) for leg in legs),
        **_menu([leg for leg in visitors if leg.presses]),
    }


def _menu(pressed: list[Leg]) -> Fields:
    """What a caller chose: of four keys or more within 1.5 s of each other only that they were typed."""
    if not pressed:
        return {"menu_path": None, "time_to_first_key_ms": None, "time_after_last_key_ms": None}
    told: list[str] = []
    typed: list[str] = []
    last: int | None = None
    for press in (press for leg in pressed for press in leg.presses):
        if typed and press.at is not None and last is not None and press.at - last > 1_500:
            told += _told(typed)
            typed = []
        typed.append(press.key or "")
        last = last if press.at is None else press.at
    told += _told(typed)
    return {
        "menu_path": ">".join(told[:3]),
        "time_to_first_key_ms": _span(pressed[0].connected, pressed[0].presses[0].at),
        "time_after_last_key_ms": _span(pressed[-1].presses[-1].at, pressed[-1].ended),
    }


def _told(typed: list[str]) -> list[str]:
    keys = "".join(typed)
    return (
        ["data"] if len(keys) >= 4 else [key if len(key) == 1 and key in "0123456789*#" else "other" for key in typed]
    )


def _flow_leg(leg: Leg) -> Fields:
    fields = leg_fields(leg)
    return {name: fields[name] for name in FLOW_LEG}


def _time_to_agent(visitors: list[Leg], agents: list[Leg]) -> int | None:
    visitor = min((leg.connected for leg in visitors if leg.connected is not None), default=None)
    agent = min((leg.connected for leg in agents if leg.connected is not None and answered(leg)), default=None)
    return _span(visitor, agent)


def _span(since: int | None, until: int | None) -> int | None:
    return None if since is None or until is None or until < since else until - since


def _ringing(leg: Leg, anomalies: list[str]) -> int | None:
    until = leg.ended if leg.connected is None else leg.connected
    early = leg.ringing is not None and leg.started is not None and leg.ringing < leg.started
    late = leg.ringing is not None and until is not None and leg.ringing > until
    if early or late:
        anomalies.append("ringingStartTime:out_of_range")
        return None
    return leg.ringing


def _talk(leg: Leg, anomalies: list[str]) -> int | None:
    if not answered(leg):
        return None
    length = _span(leg.connected, leg.ended)
    if length is None or leg.duration is None:
        return leg.duration if length is None else length
    if abs(leg.duration - length) <= 1_000:
        return leg.duration
    seconds = abs(leg.duration * 1_000 - length) <= 1_000
    anomalies.append("duration:seconds" if seconds else "duration:mismatch")
    return length


def _presses(common: Fields, leg: Leg) -> list[Fields]:
    fields = leg_fields(leg)
    return [
        common
        | {name: fields[name] for name in ("did", "cdr_id", "role", "direction")}
        | {
            "occurred_at": fields["occurred_at"] if press.at is None else press.at,
            "key": press.key,
            "label": press.label,
            "position": position,
            "ms_since_answer": _span(leg.connected, press.at),
        }
        for position, press in enumerate(leg.presses, start=1)
    ]


def _sms(call: Call, sms: Message) -> Fields:
    return {
        "occurred_at": flow_time(call) if sms.sent_at is None else sms.sent_at,
        "sms_id": sms.id,
        "sender": sms.sender,
        "recipient": sms.recipients[0][0],
        "text": sms.text,
        "text_length": len(sms.text),
        "delivery_status": sms.status,
        "anomalies": list(sms.anomalies),
        "extra": dict(sms.extra),
    }


def _email(call: Call, email: Message) -> Fields:
    return {
        "occurred_at": flow_time(call) if email.sent_at is None else email.sent_at,
        "email_id": email.id,
        "sender": email.sender,
        "subject": email.subject,
        "content": email.text,
        "size_kb": email.size_kb,
        "recipients": [
            {"address": address, "type": kind, "delivery_status": status} for address, kind, status in email.recipients
        ],
        "anomalies": list(email.anomalies),
        "extra": dict(email.extra),
    }


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, separators=(",", ":"))
