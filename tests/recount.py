"""The metrics of the contract's section 5, recounted by brute force from decoded flow records.

Written from the contract alone and sharing no code with the workers: no buckets, no running sums, one pass over all
flows for each window. What the workers publish must equal this at the record's own `as_of`.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
SHORT_MS = 10_000
IN_TIME_MS = 20_000
WINDOWS = (("5m", 300), ("1h", 3_600), ("24h", 86_400))

Flow = Mapping[str, Any]


def distinct(flows: Iterable[Flow]) -> list[Flow]:
    """Each flow once, however often it was delivered: the first, where they differ."""
    once: dict[str, Flow] = {}
    for flow in flows:
        once.setdefault(flow["event_id"], flow)
    return list(once.values())


def recount(
    flows: Iterable[Flow], did: str, as_of: int, windows: Sequence[tuple[str, int]] = WINDOWS
) -> list[dict[str, Any]]:
    """The `windows` of the DID's `DidMetrics` record at that moment."""
    own = [flow for flow in distinct(flows) if flow["did"] == did]
    return [_window(own, as_of, name, seconds) for name, seconds in windows]


def settled_until(flows: Iterable[Flow], did: str, as_of: int, windows: Sequence[tuple[str, int]]) -> int:
    """The `legs_settled_until` of that record: as_of less the longest leg that the largest window holds any of."""
    own = [flow for flow in distinct(flows) if flow["did"] == did]
    start = _end(as_of) - 1000 * max(seconds for _, seconds in windows)
    return as_of - max((until - since for since, until in _up(own) if until > start), default=0)


def _end(as_of: int) -> int:
    return as_of - as_of % MINUTE_MS + MINUTE_MS


def _window(flows: Sequence[Flow], as_of: int, name: str, seconds: int) -> dict[str, Any]:
    end = _end(as_of)
    start = end - seconds * 1000
    inside = [flow for flow in flows if start <= flow["occurred_at"] < end]
    counts = _visitor_counts(inside) | _agent_counts(inside) | _flow_counts(inside)
    counts |= _caller_counts(inside) | _key_counts(inside)
    window = {"name": name, "seconds": seconds, "start": start, "end": end}
    return window | counts | ratios(counts) | _distributions(inside) | _menu(inside) | _legs(flows, start, end)


def _visitor_counts(flows: Sequence[Flow]) -> dict[str, int]:
    legs = [leg for flow in flows for leg in flow["legs"] if leg["role"] == "VISITOR"]
    ended = [leg["disposition"] for leg in legs]
    answered = [leg for leg in legs if leg["answered"]]
    rung = [leg for leg in legs if leg["ring_ms"] is not None]
    return {
        "attempts": len(legs),
        "answered": len(answered),
        "busy": ended.count("BUSY"),
        "no_answer": ended.count("NO_ANSWER"),
        "rejected": ended.count("REJECTED"),
        "cancelled": ended.count("CANCELLED"),
        "bad_number": ended.count("BAD_NUMBER"),
        "unreachable": ended.count("UNREACHABLE"),
        "congestion": ended.count("CONGESTION"),
        "unknown_cause": ended.count("UNKNOWN"),
        "inbound_attempts": len([leg for leg in legs if leg["direction"] == "INBOUND"]),
        "inbound_answered": len([leg for leg in answered if leg["direction"] == "INBOUND"]),
        "outbound_attempts": len([leg for leg in legs if leg["direction"] == "OUTBOUND"]),
        "outbound_answered": len([leg for leg in answered if leg["direction"] == "OUTBOUND"]),
        "talk_ms": sum(leg["talk_ms"] or 0 for leg in legs),
        "short_calls": len([leg for leg in answered if leg["talk_ms"] is not None and leg["talk_ms"] < SHORT_MS]),
        "ring_ms": sum(leg["ring_ms"] for leg in rung),
        "rung": len(rung),
    }


def _agent_counts(flows: Sequence[Flow]) -> dict[str, int]:
    legs = [leg for flow in flows for leg in flow["legs"] if leg["role"] == "AGENT"]
    return {
        "agent_attempts": len(legs),
        "agent_answered": len([leg for leg in legs if leg["answered"]]),
        "agent_talk_ms": sum(leg["talk_ms"] or 0 for leg in legs),
    }


def _flow_counts(flows: Sequence[Flow]) -> dict[str, int]:
    to_agent = [flow for flow in flows if any(leg["role"] == "AGENT" for leg in flow["legs"])]
    timed = [flow["time_to_agent_ms"] for flow in flows if flow["time_to_agent_ms"] is not None]
    return {
        "flows": len(flows),
        "flows_reached": len([flow for flow in flows if flow["reached"]]),
        "flows_to_agent": len(to_agent),
        "flows_abandoned": len([flow for flow in to_agent if flow["reached"] and not flow["agent_reached"]]),
        "time_to_agent_ms": sum(timed),
        "agents_timed": len(timed),
        "served_in_time": len([wait for wait in timed if wait <= IN_TIME_MS]),
        "dtmf_presses": sum(flow["dtmf_count"] for flow in flows),
        "sms": sum(flow["sms_count"] for flow in flows),
        "emails": sum(flow["email_count"] for flow in flows),
        "recordings": sum(flow["recording_count"] for flow in flows),
    }


def _caller_counts(flows: Sequence[Flow]) -> dict[str, int]:
    """People: all windows end now, so whoever called again within the hour did so in the window too."""
    calls = Counter(flow["caller"] for flow in flows if flow["caller"] is not None)
    traceable = [flow for flow in flows if flow["caller"] is not None and flow["reached"]]
    alone = [flow for flow in traceable if all(leg["role"] != "AGENT" for leg in flow["legs"])]
    return {
        "callers": len(calls),
        "repeat_callers": len([caller for caller, number in calls.items() if number > 1]),
        "flows_traceable": len(traceable),
        "flows_contained": len([flow for flow in alone if not _again(flow, flows)]),
    }


def _again(flow: Flow, flows: Sequence[Flow]) -> bool:
    """Whether the same caller has another flow from then on and within the hour."""
    return any(
        other["event_id"] != flow["event_id"]
        and other["caller"] == flow["caller"]
        and 0 <= other["occurred_at"] - flow["occurred_at"] <= HOUR_MS
        for other in flows
    )


def _key_counts(flows: Sequence[Flow]) -> dict[str, int]:
    with_key = [flow for flow in flows if flow["menu_path"] is not None]
    first = [flow["time_to_first_key_ms"] for flow in with_key if flow["time_to_first_key_ms"] is not None]
    last = [flow["time_after_last_key_ms"] for flow in with_key if flow["time_after_last_key_ms"] is not None]
    silent = [flow for flow in flows if flow["menu_path"] is None and flow["dtmf_count"] == 0]
    return {
        "flows_with_key": len(with_key),
        "flows_without_key": len([flow for flow in silent if flow["reached"]]),
        "flows_dropped_off": len([flow for flow in with_key if _dropped_off(flow)]),
        "first_key_ms": sum(first),
        "first_keys_timed": len(first),
        "after_last_key_ms": sum(last),
        "last_keys_timed": len(last),
    }


def _dropped_off(flow: Flow) -> bool:
    return bool(flow["reached"]) and all(leg["role"] != "AGENT" for leg in flow["legs"])


def _menu(flows: Sequence[Flow]) -> dict[str, Any]:
    passed: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for flow in flows:
        if flow["menu_path"] is not None:
            choices = flow["menu_path"].split(">")
            passed.update({">".join(choices[:depth]) for depth in range(1, len(choices) + 1)})
            left[flow["menu_path"]] += _dropped_off(flow)
    most = sorted(passed, key=lambda path: (-passed[path], path))[:100]
    return {"menu": [{"path": path, "flows": passed[path], "left": left[path]} for path in most]}


def _up(flows: Iterable[Flow]) -> list[tuple[int, int]]:
    """When legs were up: from start to end, and not after the minute of their flow."""
    legs = [
        (leg["started_at"], min(leg["ended_at"], _end(flow["occurred_at"])))
        for flow in flows
        for leg in flow["legs"]
        if leg["started_at"] is not None and leg["ended_at"] is not None
    ]
    return [(since, until) for since, until in legs if until > since]


def _legs(flows: Sequence[Flow], start: int, end: int) -> dict[str, Any]:
    up = [(max(since, start), until) for since, until in _up(flows) if until > start and since < end]
    moments = sorted({since for since, _ in up})
    peak = max((sum(since <= moment < until for since, until in up) for moment in moments), default=0)
    return {"peak_legs": peak, "mean_legs": sum(until - since for since, until in up) / (end - start)}


def ratios(n: Mapping[str, int]) -> dict[str, float | None]:
    reached_network = n["answered"] + n["busy"] + n["no_answer"] + n["rejected"]
    return {
        "answer_seizure_ratio": _ratio(n["answered"], n["attempts"]),
        "network_effectiveness_ratio": _ratio(reached_network, n["attempts"] - n["unknown_cause"]),
        "average_call_duration_ms": _ratio(n["talk_ms"], n["answered"]),
        "short_call_ratio": _ratio(n["short_calls"], n["answered"]),
        "average_ring_ms": _ratio(n["ring_ms"], n["rung"]),
        "agent_answer_ratio": _ratio(n["agent_answered"], n["agent_attempts"]),
        "abandonment_ratio": _ratio(n["flows_abandoned"], n["flows_to_agent"]),
        "service_level": _ratio(n["served_in_time"], n["flows_to_agent"]),
        "average_time_to_agent_ms": _ratio(n["time_to_agent_ms"], n["agents_timed"]),
        "repeat_caller_ratio": _ratio(n["repeat_callers"], n["callers"]),
        "containment_ratio": _ratio(n["flows_contained"], n["flows_traceable"]),
        "no_input_ratio": _ratio(n["flows_without_key"], n["flows_reached"]),
        "drop_off_ratio": _ratio(n["flows_dropped_off"], n["flows_with_key"]),
        "average_time_to_first_key_ms": _ratio(n["first_key_ms"], n["first_keys_timed"]),
        "average_time_after_last_key_ms": _ratio(n["after_last_key_ms"], n["last_keys_timed"]),
    }


def _distributions(flows: Sequence[Flow]) -> dict[str, Any]:
    """Percentiles by nearest rank and the whole distributions, of times as the README's scale rounds them."""
    visitors = [leg for flow in flows for leg in flow["legs"] if leg["role"] == "VISITOR"]
    times = {
        "talk": [leg["talk_ms"] for leg in visitors],
        "ring": [leg["ring_ms"] for leg in visitors],
        "time_to_agent": [flow["time_to_agent_ms"] for flow in flows],
    }
    return of_rounded({kind: [_rounded(ms) for ms in all_ms if ms is not None] for kind, all_ms in times.items()})


def of_rounded(times: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Percentiles and distributions of rounded times by kind."""
    rounded = {kind: sorted(all_ms) for kind, all_ms in times.items()}
    percentiles = {
        f"{kind}_p{percent}_ms": all_ms[-(-len(all_ms) * percent // 100) - 1] if all_ms else None
        for kind, all_ms in rounded.items()
        for percent in (50, 90, 95)
    }
    return percentiles | {
        f"{kind}_bins": [{"ms": ms, "calls": calls} for ms, calls in sorted(Counter(all_ms).items())]
        for kind, all_ms in rounded.items()
    }


def _rounded(ms: int) -> int:
    """The middle of its bin: bins begin at 200 ms, each is 1.09 times as long as the one before, 126 in all."""
    if ms < 200:
        return 100
    begin = 200.0
    for _ in range(126):
        if ms < begin * 1.09:
            return round(2 * begin * 1.09 / 2.09)
        begin *= 1.09
    return math.floor(begin)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
