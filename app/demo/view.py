"""What the demo prints: functions from figures to a table for a terminal, or to one line for a log.

A cell holds one figure for each window, as "5m/1h/24h"; a ratio without calls is "-", never 0.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from app.demo.watch import DELIVERIES, EVENTS, SPOOLED, Seen

Window = Mapping[str, Any]
MOST_DIDS = 20


def percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.0%}"


def minutes(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    whole = round(milliseconds / 1000)
    return f"{whole // 60}:{whole % 60:02}"


COLUMNS: Mapping[str, Callable[[Window], str]] = {
    "calls": lambda window: str(window["attempts"]),
    "answered": lambda window: percent(window["answer_seizure_ratio"]),
    "average": lambda window: minutes(window["average_call_duration_ms"]),
    "abandoned": lambda window: percent(window["abandonment_ratio"]),
    "in 20 s": lambda window: percent(window["service_level"]),
}
"""Contract, section 5: "in 20 s" is the service level, calls answered by an agent within 20 s."""


def cells(windows: Sequence[Window]) -> list[str]:
    """Return one DID's figures, a cell a column, all windows in each."""
    return ["/".join(show(window) for window in windows) for show in COLUMNS.values()]


def busiest(seen: Seen) -> Sequence[Mapping[str, Any]]:
    """Return the DIDs with most calls in the longest window first."""
    return sorted(seen.metrics.values(), key=lambda one: (-one["windows"][-1]["attempts"], one["did"]))[:MOST_DIDS]


def summary(totals: Counter[str], seen: Seen, now_ms: int) -> str:
    """Return what went through, and how fresh the figures are."""
    fresh = f"newest figures {max(0, now_ms - seen.newest_ms) / 1000:.1f} s old" if seen.newest_ms else "no figures yet"
    return f"{totals[DELIVERIES]} deliveries, {totals[EVENTS]} events, {totals[SPOOLED]} spooled, {fresh}"


def table(totals: Counter[str], seen: Seen, now_ms: int) -> Table:
    """Return the live table."""
    shown = busiest(seen)
    names = "/".join(window["name"] for window in shown[0]["windows"]) if shown else ""
    view = Table(title=f"Live metrics per DID, {names}" if names else None, caption=summary(totals, seen, now_ms))
    view.add_column("DID", no_wrap=True)
    for name in COLUMNS:
        view.add_column(name, justify="right", no_wrap=True)
    for one in shown:
        view.add_row(one["did"], *cells(one["windows"]))
    return view


def line(totals: Counter[str], seen: Seen, now_ms: int) -> str:
    """Return one line for a log: the summary, and the busiest DID."""
    text = summary(totals, seen, now_ms)
    for one in busiest(seen)[:1]:
        figures = zip(COLUMNS, cells(one["windows"]), strict=True)
        text += f"; {one['did']}: " + ", ".join(f"{name} {cell}" for name, cell in figures)
    return text
