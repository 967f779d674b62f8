"""What is counted, and how ratios are made from counts. Pure: no I/O, no clock.

All counts of a flow, a bucket or a window are one Python integer with a 64-bit lane per count. Adding and subtracting
all of them is then a single integer operation of about 50 ns, where a list costs over a microsecond. No lane is
ever below 0 or runs over: amounts of a flow are from 0 to 2^44 (`flows` refuses others), and only what was added is
subtracted. `flows` says what a record adds.
The names stand here once, in the order of contract section 5.
"""

import struct
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from streams import histogram

COUNTS: Final = (
    "attempts", "answered", "busy", "no_answer", "rejected", "cancelled", "bad_number", "unreachable", "congestion",
    "unknown_cause", "inbound_attempts", "inbound_answered", "outbound_attempts", "outbound_answered", "talk_ms",
    "short_calls", "ring_ms", "rung", "agent_attempts", "agent_answered", "agent_talk_ms", "flows", "flows_reached",
    "flows_to_agent", "flows_abandoned", "time_to_agent_ms", "agents_timed", "served_in_time", "dtmf_presses", "sms",
    "emails", "recordings", "callers", "repeat_callers", "flows_traceable", "flows_contained", "flows_with_key",
    "flows_without_key", "flows_dropped_off", "first_key_ms", "first_keys_timed", "after_last_key_ms",
    "last_keys_timed",
)  # fmt: skip

#: Those that are no numbers of things.
AMOUNTS: Final = ("talk_ms", "ring_ms", "agent_talk_ms", "time_to_agent_ms", "first_key_ms", "after_last_key_ms")


class Ratio(NamedTuple):
    """The sum of some counts over another count, less a third where there is one; null where that is 0."""

    name: str
    above: tuple[str, ...]
    below: str
    less: str | None = None


RATIOS: Final = (
    Ratio("answer_seizure_ratio", ("answered",), "attempts"),
    Ratio("network_effectiveness_ratio", ("answered", "busy", "no_answer", "rejected"), "attempts", "unknown_cause"),
    Ratio("average_call_duration_ms", ("talk_ms",), "answered"),
    Ratio("short_call_ratio", ("short_calls",), "answered"),
    Ratio("average_ring_ms", ("ring_ms",), "rung"),
    Ratio("agent_answer_ratio", ("agent_answered",), "agent_attempts"),
    Ratio("abandonment_ratio", ("flows_abandoned",), "flows_to_agent"),
    Ratio("service_level", ("served_in_time",), "flows_to_agent"),
    Ratio("average_time_to_agent_ms", ("time_to_agent_ms",), "agents_timed"),
    Ratio("repeat_caller_ratio", ("repeat_callers",), "callers"),
    Ratio("containment_ratio", ("flows_contained",), "flows_traceable"),
    Ratio("no_input_ratio", ("flows_without_key",), "flows_reached"),
    Ratio("drop_off_ratio", ("flows_dropped_off",), "flows_with_key"),
    Ratio("average_time_to_first_key_ms", ("first_key_ms",), "first_keys_timed"),
    Ratio("average_time_after_last_key_ms", ("after_last_key_ms",), "last_keys_timed"),
)

RATIO: Final = {ratio.name: ratio for ratio in RATIOS}
LEAST_OF_A_RATIO: Final = 30  # at 30 calls an answer rate is good for 18 points

#: Fields of percentiles, kind by kind.
PERCENTILES: Final = tuple(f"{kind}_p{percent}_ms" for kind in histogram.KINDS for percent in histogram.PERCENTILES)

SHORT_CALL_MS: Final = 10_000  # below it an answered call is short
SERVED_WITHIN_MS: Final = 20_000  # up to it a caller was served in time

LANE: Final = {name: 64 * n for n, name in enumerate(COUNTS)}
ONE: Final = {name: 1 << shift for name, shift in LANE.items()}
LANE_MASK: Final = (1 << 64) - 1
_LANES: Final = struct.Struct(f"<{len(COUNTS)}Q")
MOST: Final = 44  # bits of any amount; of ms, 557 years

_DISPOSITIONS: Final = {
    "BUSY": "busy", "NO_ANSWER": "no_answer", "REJECTED": "rejected", "CANCELLED": "cancelled",
    "BAD_NUMBER": "bad_number", "UNREACHABLE": "unreachable", "CONGESTION": "congestion",
}  # fmt: skip


class Leg(NamedTuple):
    """A kind of leg, as far as counts go, and what a leg of it adds whatever its amounts."""

    counts: int
    visitor: bool = False
    agent: bool = False
    answered: bool = False


def leg(role: str, direction: str, disposition: str, answered: bool) -> Leg:
    """The kind of a leg with these symbols."""
    if role == "AGENT":
        return Leg(ONE["agent_attempts"] + (ONE["agent_answered"] if answered else 0), agent=True)
    if role != "VISITOR":
        return Leg(0)
    total = ONE["attempts"] + ONE["answered" if answered else _DISPOSITIONS.get(disposition, "unknown_cause")]
    if direction != "UNKNOWN":
        total += ONE[f"{direction.lower()}_attempts"] + (ONE[f"{direction.lower()}_answered"] if answered else 0)
    return Leg(total, visitor=True, answered=answered)


class Kind(NamedTuple):
    """A kind of flow, as far as counts go. `alone`: it was answered, and has no agent leg."""

    counts: int
    reached: bool
    alone: bool


def flow(reached: bool, agent_reached: bool, to_agent: bool) -> Kind:
    """The kind of a flow by whether a visitor and an agent answered, and whether it has an agent leg."""
    counts = (
        ONE["flows"]
        + (ONE["flows_reached"] if reached else 0)
        + (ONE["flows_to_agent"] if to_agent else 0)
        + (ONE["flows_abandoned"] if to_agent and reached and not agent_reached else 0)
    )
    return Kind(counts, reached, reached and not to_agent)


def lanes(total: int) -> tuple[int, ...]:
    """The counts one by one, in the order of COUNTS."""
    return _LANES.unpack(total.to_bytes(_LANES.size, "little"))


def joined(values: Iterable[int]) -> int:
    """The one integer of counts given in the order of COUNTS; `lanes` undone. ValueError where one is below 0."""
    try:
        return int.from_bytes(_LANES.pack(*values), "little")
    except struct.error:
        raise ValueError("a count below 0, or beyond 64 bits") from None


def measure(metric: str) -> Callable[[int], tuple[float | None, int]]:
    """A function from a window's sum to a metric and what that rests on: a ratio's denominator, else the count itself.

    It takes only the lanes it needs out of the sum: unpacking all takes up to three times as long.
    """
    ratio = RATIO.get(metric)
    if ratio is None:
        lane = LANE[metric]
        return lambda total: (total >> lane & LANE_MASK, total >> lane & LANE_MASK)
    first, *more = [LANE[name] for name in ratio.above]
    below, less = LANE[ratio.below], LANE[ratio.less] if ratio.less else None

    def quotient(total: int) -> tuple[float | None, int]:
        n = total >> below & LANE_MASK
        if less is not None:
            n -= total >> less & LANE_MASK
        above = total >> first & LANE_MASK
        for lane in more:
            above += total >> lane & LANE_MASK
        return above / n if n else None, n

    return quotient
