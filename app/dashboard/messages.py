"""What goes to the browser: server-sent events, each one JSON text. Pure.

snapshot   everything: windows, names of the counts, a row per DID with its trend, alerts; replaces what the page had
changes    rows that changed, without trends
alerts     alerts that began or are over
sample     a moment has passed: each DID's calls of now become the next point of its trend
status     how things stand: Kafka, freshness, receivers
A row is [DID or group, as people read it, as_of, whether it is a group, counts per window ..., trend].
Source: WHATWG HTML, "Server-sent events".
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from app.dashboard.alerts import MOST_OVER, Episode
from app.dashboard.figures import COUNTS, meanings
from app.dashboard.state import SAMPLE_SECONDS, TREND, Row, State
from schemas import decode

#: How long a browser waits before it connects again, ms.
RETRY: Final = b"retry: 2000\n\n"
HEARTBEAT: Final = b": still here\n\n"

as_json: Final = msgspec.json.Encoder().encode


def event(name: str, content: Any) -> bytes:
    """One server-sent event; JSON text holds no line ends."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), as_json(content))


def snapshot(state: State) -> bytes:
    """All rows with their trends."""
    rows = [[*_row(state, row), row.trend.tolist()] for row in state.rows.values()]
    head = {"started_at": state.started_at, "sample_ms": SAMPLE_SECONDS * 1000, "points": TREND}
    told = {"alerts": [_episode(one) for one in state.alerts.changes()], "alerts_kept": MOST_OVER}
    return event("snapshot", head | told | {"windows": state.windows, "counts": COUNTS, "rows": rows})


def changes(state: State, rows: Iterable[Row]) -> bytes:
    """The rows that changed."""
    return event("changes", [_row(state, row) for row in rows])


def alerts(episodes: Iterable[Episode]) -> bytes:
    """The alerts that changed."""
    return event("alerts", [_episode(one) for one in episodes])


def sample() -> bytes:
    """The trends go on."""
    return event("sample", {})


def one_did(state: State, row: Row) -> bytes:
    """A DID's own view as a JSON document: the whole record, its history, and what its figures mean."""
    latest, record = row.latest, decode(row.latest.value)[1]
    head = {name: getattr(latest, name) for name in ("did", "shown", "as_of", "written_at", "group")}
    told = {name: record[name] for name in ("windows", "legs_settled_until")}
    history = {"started_at": state.started_at, "history": state.history(row), "history_windows": state.windows}
    return as_json(head | history | told | {"meanings": meanings()})


def _episode(one: Episode) -> dict[str, Any]:
    return one.alert._asdict() | {"until": one.until}


def _row(state: State, row: Row) -> list[Any]:
    latest = row.latest
    return [latest.did, latest.shown, latest.as_of, latest.group, *row.counts(state.windows)]
