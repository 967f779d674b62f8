"""What DIDs come to together: the figures of groups, their alerts, and rankings. Pure.

It holds the latest record of each DID and nothing else that counts: a group's figures are made from those of its DIDs,
all anew whenever one changed, so they depend on nothing but the latest records and the mapping, in whatever order these
came. A group none of whose DIDs has a record has none either.
A group has a clock of its own (`Clock`, over the as_of of its DIDs' records and Kafka's timestamps of them), so that
its alerts go on while nothing is written: rules are looked at once a minute of it, for the figures that held till then.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from streams.alerts import Alert, Alerts, Held
from streams.bucket import MINUTE_MS
from streams.groups import Groups
from streams.ranking import Places, Ranking
from streams.rules import Rule, Rules
from streams.table import Live
from streams.windows import Clock

State = list[tuple[str, bytes | None]]


class Latest(NamedTuple):
    """The last record of a DID, or of DIDs together: the sums of its windows in the order of the settings; ms."""

    as_of: int
    sums: tuple[int, ...]


class Together(NamedTuple):
    """Groups to be written (None: it has no figures any more), alerts, and the state that goes with these."""

    groups: list[tuple[str, Live | None]]
    alerts: list[Alert]
    state: State


def merged(members: Collection[Latest]) -> Latest:
    """DIDs together: the one place where their windows are added up."""
    sums = zip(*(member.sums for member in members), strict=True)
    return Latest(max(member.as_of for member in members), tuple(map(sum, sums)))


class _Group:
    """A group: its DIDs that have a record, its clock, and as of `minute` its figures as last taken."""

    __slots__ = ("clock", "held", "members", "minute")

    def __init__(self) -> None:
        self.members: dict[str, Latest] = {}
        self.clock = Clock()
        self.minute: int | None = None
        self.held: Latest | None = None


class Gathered:
    """The groups of a mapping and the rankings, over the latest record of every DID. `lengths`: windows in minutes."""

    def __init__(
        self, lengths: Iterable[int], groups: Groups, *, rules: tuple[Rule, ...] = (), rankings: Iterable[Ranking] = ()
    ) -> None:
        self.as_of: int | None = None  # the greatest of all DIDs', ms
        self._lengths = tuple(lengths)
        self._mapping, self._rankings = groups, tuple(rankings)
        self._groups = {name: _Group() for name in groups.names}
        self._of: dict[str, tuple[str, ...]] = {}
        self._alerts = Alerts(Rules(rules))
        self._changed: dict[str, None] = {}

    def wants(self, did: str) -> bool:
        """Whether anything depends on this DID's records."""
        return bool(self._rankings or self._groups_of(did))

    def firing(self) -> int:
        """How many alerts have begun and are not over."""
        return self._alerts.firing()

    def put(self, did: str, latest: Latest | None, timestamp: int) -> None:
        """Take a DID's record, its last for now; None where it was deleted. `timestamp`: Kafka's, ms."""
        for name in self._groups_of(did):
            group = self._groups[name]
            self._changed[name] = None
            if latest is None:
                group.members.pop(did, None)
            else:
                group.members[did] = latest
                group.clock.see(latest.as_of, timestamp)
        for ranking in self._rankings:
            ranking.put(did, latest.sums if latest else ())
        if latest is not None:
            self.as_of = max(latest.as_of, self.as_of or 0)

    def restore(self, name: str, state: bytes | None) -> None:
        """Take in where a group's alerts stand, as `take` gave it; before `settle`. Raises ValueError."""
        self._alerts.restore(name, state)

    def settle(self, standing: Iterable[str], now: int) -> None:
        """All was read: groups are to be written anew, also those that have a record and should not. `now` in ms."""
        minutes = [self._minute(group, now) for group in self._groups.values() if group.members]
        alive = [name for name, group in self._groups.items() if any(any(m.sums) for m in group.members.values())]
        self._alerts.settle(alive, max(minutes, default=now // MINUTE_MS))
        self._changed |= dict.fromkeys(standing)

    def take(self, now: int) -> Together:
        """What has changed since, with groups as of `now` (ms) where no record says that it is later."""
        if self._alerts.watching:
            for name, group in self._groups.items():
                if group.members:
                    self._look(name, group, now)
        changed, self._changed = self._changed, {}
        return Together([(name, self._live(name, now)) for name in changed], *self._alerts.take())

    def ranked(self) -> list[tuple[Ranking, Places]]:
        """The rankings in which somebody's place or value has changed since."""
        places = [(ranking, ranking.take()) for ranking in self._rankings] if self.as_of is not None else []
        return [(ranking, found) for ranking, found in places if found is not None]

    def _groups_of(self, did: str) -> tuple[str, ...]:
        names = self._of.get(did)
        if names is None:
            names = self._of[did] = self._mapping.of(did)
        return names

    def _look(self, name: str, group: _Group, now: int) -> None:
        """Let the alerts look at a group at each minute that has come since, with the figures taken last."""
        was, minute = group.minute, self._minute(group, now)
        group.minute = minute
        if was is not None and was < minute and group.held is not None and any(group.held.sums):
            sums = dict(zip(self._lengths, group.held.sums, strict=True))
            self._alerts.look(name, Held(was + 1, minute, sums, minute))
            for _ in self._alerts.due(minute - 1, minute):
                pass  # all groups are looked at each minute: who is expected when says nothing

    def _live(self, name: str, now: int) -> Live | None:
        group = self._groups.get(name)
        if group is None or not group.members:
            self._alerts.forget(name, now // MINUTE_MS)
            return None
        group.held = merged(group.members.values())
        if not any(group.held.sums):
            self._alerts.forget(name, self._minute(group, now))
        return Live(name, *group.held)

    def _minute(self, group: _Group, now: int) -> int:
        as_of = group.clock.as_of(now)
        assert as_of is not None
        return as_of // MINUTE_MS
