"""All that the page knows: the last record of every DID, its history since the process started, and the alerts.

Pure: time and samples come from outside. Bounded: a DID has one row, a short trend (TREND points) and a history that
covers everything since the start with at most MOST_POINTS points: when it is full, every second one goes and the
spacing doubles. There are no queues: a row remembers the revision in which it changed, and whoever has seen revision n
asks for what came later. So a browser that reads slowly costs nothing, and gets each DID once.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from app.dashboard.alerts import Alert, Alerts
from app.dashboard.figures import COUNTS, Counts, Latest, Windows

SAMPLE_SECONDS: Final = 10
TREND: Final = 60
MOST_POINTS: Final = 120
#: A point of a trend, or the values of a point of a history, where the record had no such window.
NOT_KNOWN: Final = -1
NO_VALUES: Final = (float("nan"),) * len(COUNTS)


@dataclass(slots=True)
class Row:
    """One DID. `first` is the number of the sample that its history begins with."""

    latest: Latest
    revision: int
    first: int
    trend: "array[int]" = field(default_factory=lambda: array("q"))
    history: "array[float]" = field(default_factory=lambda: array("f"))

    def counts(self, windows: Windows) -> list[Counts | None]:
        """The counts of these windows, None for one that the record does not have."""
        if self.latest.windows == windows:
            return list(self.latest.counts)
        own = dict(zip(self.latest.windows, self.latest.counts, strict=True))
        return [own.get(window) for window in windows]


class State:
    """Rows in the order of their last change. `epoch` counts what a list of changes can't say: see `take`."""

    def __init__(self, started_at: int) -> None:
        self.started_at = started_at
        self.windows: Windows = ()
        self.rows: dict[str, Row] = {}
        self.alerts = Alerts()
        self.revision = self.epoch = self.samples = 0
        self.stride = 1
        self.written_at = self.as_of = 0

    def take(self, records: Iterable[Latest], gone: Iterable[str] = (), alerts: Iterable[Alert] = ()) -> None:
        """Take records as they come from the topics; another set of windows, or a DID that is gone, is a new epoch."""
        self.revision += 1
        self.alerts.take(alerts, self.revision)
        for record in records:
            if record.written_at >= self.written_at:
                self._use(record.windows)
                self.written_at = record.written_at
            self.as_of = max(self.as_of, record.as_of)
            row = self.rows.pop(record.did, None)  # to the end: it changed last
            if row is None:
                row = Row(record, self.revision, self._next_point())
            row.latest, row.revision = record, self.revision
            self.rows[record.did] = row
        for did in gone:
            self.epoch += self.rows.pop(did, None) is not None

    def _use(self, windows: Windows) -> None:
        if windows != self.windows:
            self.epoch += 1
            self.windows = windows
            for row in self.rows.values():
                row.trend, row.history = array("q"), array("f")
                row.first = self._next_point()

    def _next_point(self) -> int:
        """The number of the next sample that histories keep: a multiple of the stride."""
        return -(-self.samples // self.stride) * self.stride

    def changes(self, since: int) -> list[Row]:
        """The rows that changed after that revision, the last changed first."""
        changed = []
        for row in reversed(self.rows.values()):
            if row.revision <= since:
                break
            changed.append(row)
        return changed

    def sample(self) -> None:
        """Add a point to every trend and history; to be called every SAMPLE_SECONDS."""
        if self.samples >= MOST_POINTS * self.stride:
            self._thin()
        kept = self.samples % self.stride == 0
        for row in self.rows.values():
            counts = row.counts(self.windows)
            row.trend.append(counts[0][0] if counts and counts[0] else NOT_KNOWN)
            if len(row.trend) > TREND:
                del row.trend[0]
            if kept:
                for values in counts:
                    row.history.extend(values or NO_VALUES)
        self.samples += 1

    def _thin(self) -> None:
        """Keep every second point of each history; points of all DIDs stand at multiples of the stride."""
        width = len(self.windows) * len(COUNTS)
        for row in self.rows.values():
            skipped = row.first // self.stride % 2
            points = range(skipped * width, len(row.history), 2 * width)
            row.history = array("f", (value for at in points for value in row.history[at : at + width]))
            row.first += skipped * self.stride
        self.stride *= 2

    def history(self, row: Row) -> dict[str, Any]:
        """What is known of a DID since the start: ms of each point, and per window and count its values."""
        width = len(self.windows) * len(COUNTS)
        points = len(row.history) // width if width else 0
        step = SAMPLE_SECONDS * 1000
        return {
            "times": [self.started_at + (row.first + n * self.stride) * step for n in range(points)],
            "windows": [
                {name: list(row.history[w * len(COUNTS) + n :: width]) for n, name in enumerate(COUNTS)}
                for w in range(len(self.windows))
            ],
        }
