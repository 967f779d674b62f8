"""What the receivers say of themselves, from their pages in Prometheus' text format: totals, and how fast they grow.

Pure. A counter that fell was started again: all that it counts now was added. A receiver that does not answer makes the
sums unknown, not smaller.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

COUNTERS: Final = {"phonon_deliveries_total": "deliveries", "phonon_events_total": "events"}
GAUGES: Final = {"phonon_spool_rows": "spooled"}
NAMES: Final = COUNTERS | GAUGES
SAMPLE: Final = re.compile(rf"^({'|'.join(NAMES)})(?:\{{.*\}})? (\S+)", re.MULTILINE)
#: Rates are over about this long: shorter ones jump, longer ones lag.
RATE_SECONDS: Final = 10.0

Totals = dict[str, float]


class Look(NamedTuple):
    """The totals of one receiver at a moment, s."""

    at: float
    totals: Totals


def totals(page: str) -> Totals:
    """The sums over all labels of what we show; 0 for a counter that has not counted yet."""
    found = dict.fromkeys(NAMES.values(), 0.0)
    for name, value in SAMPLE.findall(page):
        found[NAMES[name]] += float(value)
    return found


@dataclass(slots=True)
class Receiver:
    """What one receiver said lately, oldest first."""

    looks: list[Look] = field(default_factory=list)

    def add(self, at: float, page: str | None) -> None:
        """Take a page; None where it did not answer."""
        if page is None:
            self.looks.clear()
            return
        self.looks.append(Look(at, totals(page)))
        while len(self.looks) > 2 and self.looks[1].at <= at - RATE_SECONDS:
            del self.looks[0]

    def rate(self, name: str) -> float | None:
        """How much a counter grows in a second; None before the second look."""
        if len(self.looks) < 2:
            return None
        pairs = zip(self.looks, self.looks[1:], strict=False)
        grown = sum(_grown(before.totals[name], after.totals[name]) for before, after in pairs)
        return grown / (self.looks[-1].at - self.looks[0].at)


def _grown(before: float, after: float) -> float:
    return after - before if after >= before else after


def summary(receivers: Sequence[Receiver]) -> dict[str, Any]:
    """The figures of all receivers together, None where not all are known."""
    answering = [receiver for receiver in receivers if receiver.looks]
    whole = len(answering) == len(receivers)
    shown: dict[str, Any] = {"asked": len(receivers), "answering": len(answering)}
    for name in NAMES.values():
        shown[name] = sum(receiver.looks[-1].totals[name] for receiver in answering) if whole else None
    for name in COUNTERS.values():
        rates = [receiver.rate(name) for receiver in receivers]
        shown[f"{name}_per_second"] = None if None in rates else sum(rate or 0 for rate in rates)
    return shown
