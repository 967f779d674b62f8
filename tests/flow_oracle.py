"""Seeded flow records, and a recount of them that shares nothing with the workers: the contract's words as a loop."""

import random
import uuid
from collections.abc import Iterable
from typing import Any

MINUTE = 60_000
DISPOSITIONS = ("BUSY", "NO_ANSWER", "REJECTED", "CANCELLED", "BAD_NUMBER", "UNREACHABLE", "CONGESTION", "UNKNOWN")

Record = dict[str, Any]


def flow(rng: random.Random, did: str, occurred_at: int, *, received_at: int | None = None) -> Record:
    """A flow of any kind at that time, ms."""
    legs = [_leg(rng, occurred_at) for _ in range(rng.randint(0, 3))]
    main = rng.random() < 0.8
    return {
        "event_id": str(uuid.UUID(int=rng.getrandbits(128))),
        "flow_id": f"flow-{rng.getrandbits(40):x}",
        "did": did,
        "occurred_at": occurred_at,
        "received_at": occurred_at + 2000 if received_at is None else received_at,
        "main": main,
        "direction": rng.choice(("INBOUND", "OUTBOUND", "UNKNOWN")),
        "disposition": rng.choice(DISPOSITIONS),
        "reached": any(leg["answered"] and leg["role"] == "VISITOR" for leg in legs),
        "agent_reached": any(leg["answered"] and leg["role"] == "AGENT" for leg in legs),
        "time_to_agent_ms": rng.choice((None, 0, 4_000, 20_000, 20_001)),
        "legs": legs,
        "dtmf_count": rng.randint(0, 5),
        "sms_count": rng.randint(0, 2) if main else 0,
        "email_count": rng.randint(0, 2) if main else 0,
        "recording_count": rng.randint(0, 1) if main else 0,
    }


def _leg(rng: random.Random, at: int) -> Record:
    answered = rng.random() < 0.5
    return {
        "cdr_id": f"cdr-{rng.getrandbits(30)}",
        "role": rng.choice(("VISITOR", "VISITOR", "AGENT", "UNKNOWN")),
        "direction": rng.choice(("INBOUND", "OUTBOUND", "UNKNOWN")),
        "disposition": "ANSWERED" if answered else rng.choice(DISPOSITIONS),
        "answered": answered,
        "started_at": at - 60_000,
        "ended_at": at,
        "ring_ms": rng.choice((None, 0, 2_500, 40_000)),
        "talk_ms": rng.choice((0, 9_999, 10_000, 180_000)) if answered else None,
    }


def recount(flows: Iterable[Record], *, start: int, end: int) -> dict[str, Any]:
    """Counts and ratios over the flows in [start, end), each event_id once: the first."""
    once: dict[str, Record] = {}
    for record in flows:
        once.setdefault(record["event_id"], record)
    held = [record for record in once.values() if start <= record["occurred_at"] < end]
    legs = [leg for record in held for leg in record["legs"]]
    visitor, agent = ([leg for leg in legs if leg["role"] == role] for role in ("VISITOR", "AGENT"))
    counts = _of_visitors(visitor) | _of_agents(agent) | _of_flows(held)
    return counts | _ratios(counts)


def _of_visitors(legs: list[Record]) -> dict[str, int]:
    answered = [leg for leg in legs if leg["answered"]]
    missed = [leg["disposition"] for leg in legs if not leg["answered"]]
    by_disposition = {("unknown_cause" if d == "UNKNOWN" else d.lower()): missed.count(d) for d in DISPOSITIONS}
    inbound, outbound = ([leg for leg in legs if leg["direction"] == way] for way in ("INBOUND", "OUTBOUND"))
    return {
        "attempts": len(legs),
        "answered": len(answered),
        **by_disposition,
        "inbound_attempts": len(inbound),
        "inbound_answered": sum(leg["answered"] for leg in inbound),
        "outbound_attempts": len(outbound),
        "outbound_answered": sum(leg["answered"] for leg in outbound),
        "talk_ms": sum(leg["talk_ms"] or 0 for leg in legs),
        "short_calls": sum(leg["talk_ms"] < 10_000 for leg in answered),
        "ring_ms": sum(leg["ring_ms"] or 0 for leg in legs),
        "rung": sum(leg["ring_ms"] is not None for leg in legs),
    }


def _of_agents(legs: list[Record]) -> dict[str, int]:
    return {
        "agent_attempts": len(legs),
        "agent_answered": sum(leg["answered"] for leg in legs),
        "agent_talk_ms": sum(leg["talk_ms"] or 0 for leg in legs),
    }


def _of_flows(flows: list[Record]) -> dict[str, int]:
    to_agent = [record for record in flows if any(leg["role"] == "AGENT" for leg in record["legs"])]
    timed = [record["time_to_agent_ms"] for record in flows if record["time_to_agent_ms"] is not None]
    return {
        "flows": len(flows),
        "flows_reached": sum(record["reached"] for record in flows),
        "flows_to_agent": len(to_agent),
        "flows_abandoned": sum(record["reached"] and not record["agent_reached"] for record in to_agent),
        "time_to_agent_ms": sum(timed),
        "agents_timed": len(timed),
        "served_in_time": sum(ms <= 20_000 for ms in timed),
        "dtmf_presses": sum(record["dtmf_count"] for record in flows),
        "sms": sum(record["sms_count"] for record in flows),
        "emails": sum(record["email_count"] for record in flows),
        "recordings": sum(record["recording_count"] for record in flows),
    }


def _ratios(c: dict[str, int]) -> dict[str, float | None]:
    pairs = {
        "answer_seizure_ratio": (c["answered"], c["attempts"]),
        "network_effectiveness_ratio": (
            c["answered"] + c["busy"] + c["no_answer"] + c["rejected"],
            c["attempts"] - c["unknown_cause"],
        ),
        "average_call_duration_ms": (c["talk_ms"], c["answered"]),
        "short_call_ratio": (c["short_calls"], c["answered"]),
        "average_ring_ms": (c["ring_ms"], c["rung"]),
        "agent_answer_ratio": (c["agent_answered"], c["agent_attempts"]),
        "abandonment_ratio": (c["flows_abandoned"], c["flows_to_agent"]),
        "service_level": (c["served_in_time"], c["flows_to_agent"]),
        "average_time_to_agent_ms": (c["time_to_agent_ms"], c["agents_timed"]),
    }
    return {name: above / below if below else None for name, (above, below) in pairs.items()}


def mismatches(flows: Iterable[Record], latest: dict[str, Record]) -> list[str]:
    """How the last DidMetrics of each DID differs from a recount at its own as_of; empty when nothing does."""
    by_did: dict[str, list[Record]] = {}
    for record in flows:
        by_did.setdefault(record["did"], []).append(record)
    wrong = [f"{did}: no metrics" for did in by_did.keys() - latest.keys()]
    for did, metrics in latest.items():
        for window in metrics["windows"]:
            end = metrics["as_of"] // MINUTE * MINUTE + MINUTE
            start = end - window["seconds"] * 1000
            expected = {"name": window["name"], "seconds": window["seconds"], "start": start, "end": end}
            expected |= recount(by_did.get(did, []), start=start, end=end)
            if window != expected:
                differing = {name: (value, expected.get(name)) for name, value in window.items()}
                wrong.append(f"{did} {window['name']}: {[(k, *v) for k, v in differing.items() if v[0] != v[1]]}")
    return wrong
