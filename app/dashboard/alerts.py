"""What the page knows of alerts: the episodes that fire and those that are over, from the records of the alerts topic.

Pure, and bounded: of those that are over the newest MOST_OVER are kept, and up to as many more until the next clearing.
An episode keeps the figures with which it began: they say why. A record that comes twice, or late, changes nothing.
At most one episode of a rule fires about a DID or group. Where the workers' state was deleted nobody says that the one
before is over, so it ends where the next begins.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from app.dashboard.figures import shown
from schemas import Resolve, Undecodable, decode, without_registry

MOST_OVER: Final = 300
MOST_FIRING: Final = 5_000
STATES: Final = ("FIRING", "RESOLVED")

#: A rule, and whom its alert is about.
About = tuple[str, str, str | None, str]


class Alert(NamedTuple):
    """One record: an alert about a DID, or a group where `did` is None, has begun or is over. Times are ms."""

    id: str
    rule: str
    did: str | None
    shown: str
    metric: str
    window: str | None
    value: float | None
    n: int
    threshold: float | None
    firing: bool
    since: int
    as_of: int


@dataclass(slots=True)
class Episode:
    """An alert from its beginning on; `until` is when it was over, None while it fires."""

    alert: Alert
    revision: int
    until: int | None = None


def read_alert(value: bytes | None, resolve: Resolve = without_registry) -> Alert:
    """A record of the alerts topic. Raises Undecodable and what `resolve` does."""
    record, fields = decode(value, resolve)
    if record != "DidAlert" or fields["state"] not in STATES:
        raise Undecodable(f"a {record} among the alerts, or one in a state that is none")
    did: str | None = fields["did"]
    return Alert(
        id=fields["alert_id"],
        rule=fields["rule"],
        did=did,
        shown=shown(did) if did is not None else fields["group"] or "",
        metric=fields["metric"],
        window=fields["window"],
        value=fields["value"],
        n=fields["n"],
        threshold=fields["threshold"],
        firing=fields["state"] == "FIRING",
        since=fields["since"],
        as_of=fields["as_of"],
    )


def _about(alert: Alert) -> About:
    return alert.rule, alert.metric, alert.did, alert.shown


class Alerts:
    """All episodes that are known."""

    def __init__(self) -> None:
        self.firing: dict[str, Episode] = {}
        self.over: dict[str, Episode] = {}
        self._fires: dict[About, Episode] = {}  # those of `firing` again
        self._revision = 0

    def take(self, alerts: Iterable[Alert], revision: int) -> None:
        """Take records as they come from the topic: those of one alert in order, of several in any."""
        for alert in alerts:
            known = self.firing.get(alert.id)
            if alert.id in self.over or (known and alert.firing):
                continue
            self._revision = revision
            if alert.firing:
                self._begin(alert)
            else:
                self._end(known.alert if known else alert, alert.as_of)
            self._clear()

    def _begin(self, alert: Alert) -> None:
        other = self._fires.get(_about(alert))
        if other is not None and other.alert.since > alert.since:
            self._end(alert, other.alert.since)
            return
        if other is not None:
            self._end(other.alert, alert.since)
        self.firing[alert.id] = self._fires[_about(alert)] = Episode(alert, self._revision)

    def _forget(self, id_: str) -> None:
        if known := self.firing.pop(id_, None):
            del self._fires[_about(known.alert)]

    def _end(self, alert: Alert, until: int) -> None:
        self._forget(alert.id)
        self.over[alert.id] = Episode(alert, self._revision, until)

    def _clear(self) -> None:
        if len(self.over) > 2 * MOST_OVER:
            newest = sorted(self.over.items(), key=lambda item: item[1].until or 0)[-MOST_OVER:]
            self.over = dict(newest)
        while len(self.firing) > MOST_FIRING:
            self._forget(next(iter(self.firing)))

    def changes(self, since: int = -1) -> list[Episode]:
        """The episodes that changed after that revision."""
        if self._revision <= since:
            return []
        return [one for kept in (self.firing, self.over) for one in kept.values() if one.revision > since]
