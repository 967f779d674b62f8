"""What DIDs add up to: the figures of groups, their alerts, and rankings. Pure.

It holds the latest record of each DID and nothing else that counts: a group's figures are made from those of its DIDs,
all anew whenever one changed, so they depend on the latest records and the mapping alone, not on their order. A
group none of whose DIDs has a record has none either.
A group has a clock of its own (`Clock`, over the as_of of its DIDs' records and Kafka's timestamps of them), so that
its alerts go on while nothing is written: rules are looked at once a minute of it, for the figures that held till then.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from streams.alerts import Alert, Alerts, Held
from streams.bucket import MINUTE_MS
from streams.clock import Clock
from streams.groups import Groups
from streams.lines import Busy
from streams.live import NO_SPAN, Live, Span
from streams.ranking import Places, Ranking
from streams.rules import Rule, Rules

State = list[tuple[str, bytes | None]]


class Together(NamedTuple):
    """Groups to be written (None: without figures from now on), alerts, and the state that goes with these."""

    groups: list[tuple[str, Live | None]]
    alerts: list[Alert]
    state: State


class _Group:
    """A group: its DIDs that have a record, its clock, and its sums as last taken, as of `minute`.

    Tallies are added up as records come and go: there are many, and few change.
    """

    __slots__ = ("clock", "held", "members", "minute", "tallies")

    def __init__(self, windows: int) -> None:
        self.members: dict[str, Live] = {}
        self.tallies: list[dict[int, int]] = [{} for _ in range(windows)]
        self.clock = Clock()
        self.minute: int | None = None
        self.held: tuple[int, ...] = ()

    def put(self, did: str, latest: Live | None, changes: Sequence[Sequence[tuple[int, int]]]) -> None:
        """Take a DID's record, None where it was deleted, and what it changes of the tallies, window by window."""
        if latest is None:
            self.members.pop(did, None)
            self.held = self.held if self.members else ()
        else:
            self.members[did] = latest
        for held, changed in zip(self.tallies, changes, strict=False):
            for number, flows in changed:
                held[number] = held.get(number, 0) + flows
                if not held[number]:
                    del held[number]

    def live(self, name: str) -> Live:
        """Its DIDs together: the one place where their windows are added up. A peak can't be."""
        members = self.members.values()
        sums = tuple(map(sum, zip(*(member.sums for member in members), strict=True)))
        legs = map(sum, zip(*([span.busy.legs_ms for span in member.spans] for member in members), strict=True))
        spans = tuple(
            Span([*held.items()], Busy(None, legs_ms)) for held, legs_ms in zip(self.tallies, legs, strict=True)
        )
        longest_ms = max(member.longest_ms for member in members)
        return Live(name, max(member.as_of for member in members), sums, spans, longest_ms)


class Gathered:
    """The groups of a mapping and the rankings, over the latest record of every DID. `lengths`: windows in minutes."""

    def __init__(
        self, lengths: Iterable[int], groups: Groups, *, rules: tuple[Rule, ...] = (), rankings: Iterable[Ranking] = ()
    ) -> None:
        self.as_of: int | None = None  # the greatest of all DIDs', ms
        self._lengths = tuple(lengths)
        self._mapping, self._rankings = groups, tuple(rankings)
        self._groups = {name: _Group(len(self._lengths)) for name in groups.names}
        self._of: dict[str, tuple[str, ...]] = {}
        self._alerts = Alerts(Rules(rules))
        self._changed: dict[str, None] = {}

    def wants(self, did: str) -> bool:
        """Whether anything depends on this DID's records."""
        return bool(self._rankings or self._groups_of(did))

    def firing(self) -> int:
        """How many alerts have begun and are not over."""
        return self._alerts.firing()

    def put(self, did: str, latest: Live | None, timestamp: int) -> None:
        """Take a DID's record, its last for now; None where it was deleted. `timestamp`: Kafka's, ms."""
        names = self._groups_of(did)
        groups = [self._groups[name] for name in names]
        changes = _changes(groups[0].members.get(did), latest) if groups else []
        for group in groups:
            group.put(did, latest, changes)
            if latest is not None:
                group.clock.see(latest.as_of, timestamp)
        self._changed |= dict.fromkeys(names)
        for ranking in self._rankings:
            ranking.put(did, latest.sums if latest else ())
        if latest is not None:
            self.as_of = max(latest.as_of, self.as_of or 0)

    def restore(self, name: str, state: bytes | None) -> None:
        """Take in where a group's alerts stand, as `take` gave it; before `settle`. Raises ValueError."""
        self._alerts.restore(name, state)

    def settle(self, standing: Iterable[str], now: int) -> None:
        """All was read: write all groups anew, also those that have a record and should not. `now` in ms."""
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
        if was is not None and was < minute and any(group.held):
            sums = dict(zip(self._lengths, group.held, strict=True))
            self._alerts.look(name, Held(was + 1, minute, sums, minute))
            for _ in self._alerts.due(minute - 1, minute, self._groups):
                pass  # all groups are looked at each minute, expected or not

    def _live(self, name: str, now: int) -> Live | None:
        group = self._groups.get(name)
        if group is None or not group.members:
            self._alerts.forget(name, now // MINUTE_MS)
            return None
        live = group.live(name)
        group.held = live.sums
        if not any(live.sums):
            self._alerts.forget(name, self._minute(group, now))
        return live

    def _minute(self, group: _Group, now: int) -> int:
        as_of = group.clock.as_of(now)
        assert as_of is not None
        return as_of // MINUTE_MS


def _changes(was: Live | None, latest: Live | None) -> list[list[tuple[int, int]]]:
    """What a record changes of the tallies of the one before it, window by window: most stay as they were."""
    changes = []
    for before, after in zip_longest(was.spans if was else (), latest.spans if latest else (), fillvalue=NO_SPAN):
        gone, come = set(before.tallies), set(after.tallies)
        changes.append([(number, -flows) for number, flows in gone - come] + [*(come - gone)])
    return changes
