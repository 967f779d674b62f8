"""Seeded flow records of any kind, and the verdict on metrics made from them, by the recount in tests/recount.py."""

import random
import uuid
from collections.abc import Iterable
from typing import Any

from tests.recount import recount, settled_until

MINUTE = 60_000
DISPOSITIONS = ("BUSY", "NO_ANSWER", "REJECTED", "CANCELLED", "BAD_NUMBER", "UNREACHABLE", "CONGESTION", "UNKNOWN")

Record = dict[str, Any]


def flow(rng: random.Random, did: str, occurred_at: int) -> Record:
    """A flow of any kind at that time, ms."""
    legs = [_leg(rng, occurred_at) for _ in range(rng.randint(0, 3))]
    main = rng.random() < 0.8
    return {
        "event_id": str(uuid.UUID(int=rng.getrandbits(128))),
        "flow_id": f"flow-{rng.getrandbits(40):x}",
        "did": did,
        "occurred_at": occurred_at,
        "received_at": occurred_at + 2000,
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
        "caller": rng.choice((None, *(f"tok_{n:032x}" for n in range(1 << 96, 9 << 96, 1 << 96)))),
        **_keys(rng),
    }


def _keys(rng: random.Random) -> Record:
    if rng.random() < 0.4:
        return {"menu_path": None, "time_to_first_key_ms": None, "time_after_last_key_ms": None}
    return {
        "menu_path": ">".join(rng.choices(("1", "2", "3", "9", "#", "data", "other"), k=rng.randint(1, 3))),
        "time_to_first_key_ms": rng.choice((None, 0, 3_000)),
        "time_after_last_key_ms": rng.choice((None, 0, 90_000)),
    }


def _leg(rng: random.Random, at: int) -> Record:
    answered = rng.random() < 0.5
    return {
        "cdr_id": f"cdr-{rng.getrandbits(30)}",
        "role": rng.choice(("VISITOR", "VISITOR", "AGENT", "UNKNOWN")),
        "direction": rng.choice(("INBOUND", "OUTBOUND", "UNKNOWN")),
        "disposition": "ANSWERED" if answered else rng.choice(DISPOSITIONS),
        "answered": answered,
        "started_at": rng.choice((None, *[at - span for span in (1, 30_000, 60_000, 90_001, 240_000)])),
        "ended_at": rng.choice((None, *[at - before for before in (0, 1, 45_000, 90_000)], at + 200_000)),
        "ring_ms": rng.choice((None, 0, 2_500, 40_000)),
        "talk_ms": rng.choice((0, 9_999, 10_000, 180_000)) if answered else None,
    }


def mismatches(flows: Iterable[Record], latest: dict[str, Record]) -> list[str]:
    """How the last DidMetrics of each DID differs from a recount at its own as_of; empty when nothing does."""
    by_did: dict[str, list[Record]] = {}
    for record in flows:
        by_did.setdefault(record["did"], []).append(record)
    wrong = [f"{did}: no metrics" for did in by_did.keys() - latest.keys()]
    for did, metrics in latest.items():
        spans = [(window["name"], window["seconds"]) for window in metrics["windows"]]
        settled = settled_until(by_did.get(did, []), did, metrics["as_of"], spans)
        if metrics["legs_settled_until"] != settled:
            wrong.append(f"{did} legs_settled_until: {metrics['legs_settled_until']}, expected {settled}")
        expected = recount(by_did.get(did, []), did, metrics["as_of"], spans)
        for got, right in zip(metrics["windows"], expected, strict=True):
            differing = [(name, value, right.get(name)) for name, value in got.items() if value != right.get(name)]
            if differing or got.keys() != right.keys():
                wrong.append(f"{did} {got['name']}: {differing}")
    return wrong
