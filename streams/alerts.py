"""The alerts of a partition's DIDs: what is firing, and the records to be written when that changes. Pure.

Rules look at each minute of the partition's clock once, at its end, and at the figures that held then: so a replay of
the same records finds the same episodes, however it is flushed. A DID is looked at when it moves on to another minute,
together with the minutes between, in which its figures stayed the same. Only the flows that a silence lacks grow in
number meanwhile; the minute at which they can be enough is known an hour ahead, so no DID is looked at every minute for
that. What becomes of an episode is written in one transaction with the alert and the buckets: one FIRING and one
RESOLVED for each, whatever dies.
Minutes are whole numbers, ms since 1970 UTC // 60,000; "at" a minute means at its first moment.
"""

from bisect import bisect_left
from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from streams.metrics import LANE, LANE_MASK
from streams.profile import Profile
from streams.rules import HOUR_MINUTES, Figures, Rule, Rules, Seen

PENDING: Final = "PENDING"
FIRING: Final = "FIRING"
QUIET: Final = "QUIET"
RESOLVED: Final = "RESOLVED"

NOTHING: Final = Seen(False, None, 0, None)
KEPT_MINUTES: Final = 14 * 24 * 60  # what is usual for a DID is kept this long after its last flow
DAY_MINUTES: Final = 24 * 60
_VERSION: Final = 1
_FLOWS: Final = LANE["flows"]


class Episode(NamedTuple):
    """Where a rule stands with a DID: pending or firing since a minute, or quiet until one.

    `clear`: while it fires, the first minute since which its condition has not held; None while it holds.
    """

    state: str
    minute: int
    metric: str
    window: str | None
    clear: int | None = None


class Alert(NamedTuple):
    """A record to be written. `as_of` is a minute."""

    did: str
    rule: str
    episode: Episode
    state: str
    as_of: int
    seen: Seen


class Held(NamedTuple):
    """What a DID's figures were at each minute from `first` to `last`. `newest` is the minute of its last flow."""

    first: int
    last: int
    sums: Mapping[int, int]
    newest: int


#: Where a rule stands now; and the episode, state and minute to be told, if any.
Step = tuple[Episode | None, tuple[Episode, str, int] | None]


def step(rule: Rule, was: Episode | None, seen: Seen, first: int, last: int) -> Step:
    """Where a rule stands after seeing the same at each minute from `first` to `last`, and what is to be told.

    An episode begins with the first minute at which the condition holds, but not while it is quiet.
    """
    if was is not None and was.state == QUIET:
        if was.minute > last:
            return was, None
        first, was = max(first, was.minute), None
    if was is not None and was.state == FIRING:
        return _go_on(rule, was, seen, first, last)
    if not seen.holds:
        return None, None
    was = was or Episode(PENDING, first, rule.metric, rule.window)
    if was.minute + rule.hold > last:
        return was, None
    fired = was._replace(state=FIRING)
    return fired, (fired, FIRING, max(first, was.minute + rule.hold))


def _go_on(rule: Rule, was: Episode, seen: Seen, first: int, last: int) -> Step:
    """The same for a rule that fires: it is over once its condition has not held for `keep` minutes."""
    if seen.holds:
        return was._replace(clear=None), None
    clear = first if was.clear is None else was.clear
    over = clear + rule.keep
    if over > last:
        return was._replace(clear=clear), None
    quiet = was._replace(state=QUIET, minute=over + rule.quiet, clear=None)
    return quiet if quiet.minute > last else None, (was, RESOLVED, max(first, over))


@dataclass(slots=True)
class Watched:
    """What is known of a DID: the rules about it, where they stand, what is usual for it.

    Silences are kept apart from the other rules: before the minute `listen` none of them can begin and no hour ends.
    """

    rules: tuple[Rule, ...]
    silences: tuple[Rule, ...]
    profile: Profile | None
    episodes: dict[str, Episode] = field(default_factory=dict)
    newest: int = 0
    listen: int = 0


class Alerts:
    """The DIDs of a partition, as its table tells of them."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.watching = bool(rules.rules)  # whether there is any
        self._watched: dict[str, Watched] = {}
        self._due: dict[int, dict[str, None]] = {}
        self._told: list[Alert] = []
        self._changed: dict[str, None] = {}

    def firing(self) -> int:
        """How many episodes have begun and are not over."""
        return sum(one.state == FIRING for watched in self._watched.values() for one in watched.episodes.values())

    def expect(self, did: str, minute: int) -> None:
        """Have the DID looked at when the clock comes to this minute."""
        self._due.setdefault(minute, {})[did] = None

    def due(self, after: int, until: int, dids: Container[str]) -> Iterator[str]:
        """The DIDs expected up to `until`, which no longer are; each day, what was kept for too long is dropped.

        `dids`: those that a window holds something of, or did before these minutes: they are still to be looked at.
        """
        if after // DAY_MINUTES != until // DAY_MINUTES:
            self._expire(until, dids)
        for minute in sorted(minute for minute in self._due if minute <= until):
            yield from self._due.pop(minute)

    def look(self, did: str, held: Held) -> None:
        """Look at a DID at all minutes of `held`."""
        watched = self._watched.get(did) or self._watch(did)
        watched.newest = held.newest
        figures = Figures(held.sums)
        for rule in watched.rules:
            seen = rule.look(figures)
            if seen.holds or rule.name in watched.episodes:
                self._step(did, watched, rule, seen, held.first, held.last)
        if watched.profile is not None and held.last >= watched.listen:
            self._listen(did, watched, watched.profile, held)

    def forget(self, did: str, minute: int) -> None:
        """No window holds anything of the DID: all but a silence is over; what is usual for it is kept for a while."""
        watched = self._watched.get(did)
        if watched is None:
            return
        for name, episode in list(watched.episodes.items()):
            if episode.window is not None:
                self._end(did, watched, name, minute)
        if watched.profile is None:
            del self._watched[did]

    def take(self) -> tuple[list[Alert], list[tuple[str, bytes | None]]]:
        """The alerts to be written, and by DID the state that goes with them; None where nothing is left of it."""
        told, self._told = self._told, []
        changed, self._changed = self._changed, {}
        return told, [(did, self._pack(did)) for did in changed]

    def restore(self, did: str, value: bytes | None) -> None:
        """Take in what `take` gave, in its order. Raises ValueError where it is none of ours."""
        if value is None:  # a log that is not compacted yet holds what was deleted, too
            self._watched.pop(did, None)
            return
        try:
            version, episodes, profile, newest = msgspec.msgpack.decode(value)
            if version != _VERSION:
                raise ValueError(f"alerts of version {version}; this program reads {_VERSION}")
            watched = self._watch(did)
            watched.episodes = {name: Episode(*episode) for name, episode in episodes.items()}
            watched.newest = newest
            if watched.profile is not None and profile is not None:
                watched.profile = Profile.unpack(profile)
        except (TypeError, msgspec.DecodeError) as error:
            raise ValueError(f"alerts that can't be read: {error}") from None

    def settle(self, dids: Collection[str], minute: int) -> None:
        """Make what was restored whole: what belongs to no rule any more is over, and all DIDs are looked at again.

        A rule of the same name that looks at another metric or window is another rule.
        """
        for did, watched in list(self._watched.items()):
            meant = {rule.name: rule for rule in (*watched.rules, *watched.silences)}
            for name, episode in list(watched.episodes.items()):
                rule = meant.get(name)
                other = rule is None or (rule.metric, rule.window) != (episode.metric, episode.window)
                if other or (episode.window is not None and did not in dids):
                    self._end(did, watched, name, minute)
                elif (decides := _decides(meant[name], episode)) is not None:
                    self.expect(did, max(decides, minute + 1))
            if watched.profile is None and not watched.episodes:
                del self._watched[did]
                self._changed[did] = None  # nor is what was usual for it kept, without a silence that needs it
        if self.watching:
            for did in dids:
                self.expect(did, minute + 1)

    def _watch(self, did: str) -> Watched:
        meant = [rule for rule in self._rules.rules if rule.matches(did)]
        rules = tuple(rule for rule in meant if rule.window is not None)
        silences = tuple(rule for rule in meant if rule.window is None)
        watched = self._watched[did] = Watched(rules, silences, Profile() if silences else None)
        return watched

    def _listen(self, did: str, watched: Watched, profile: Profile, held: Held) -> None:
        """Look for silences, hour by hour: at the first minute of each, what the hour before brought becomes known."""
        first = max(held.first, watched.listen)
        while first <= held.last:
            if first % HOUR_MINUTES == 0:
                profile.brought(first // HOUR_MINUTES - 1, held.sums[HOUR_MINUTES] >> _FLOWS & LANE_MASK)
                self._changed[did] = None
            end = (first // HOUR_MINUTES + 1) * HOUR_MINUTES
            last = min(held.last, end - 1)
            for rule in watched.silences:
                self._hear(did, watched, rule, range(first, last + 1))
            first = end
        ahead = range(held.last + 1, end)
        watched.listen = min(_next(rule, watched, ahead) for rule in watched.silences)
        self.expect(did, watched.listen)

    def _hear(self, did: str, watched: Watched, rule: Rule, minutes: range) -> None:
        """Look for a silence at minutes of one hour, in which it can begin but not end by itself."""
        if rule.name not in watched.episodes and not _heard(rule, watched, minutes[-1]).holds:
            return
        for minute in minutes:
            was, seen = watched.episodes.get(rule.name), _heard(rule, watched, minute)
            if was is not None and was.state != QUIET and watched.newest < was.minute:
                seen = seen._replace(holds=True)  # a silence is over with the next flow, not with the hour
            if was is not None or seen.holds:
                self._step(did, watched, rule, seen, minute, minute)

    def _step(self, did: str, watched: Watched, rule: Rule, seen: Seen, first: int, last: int) -> None:
        was = watched.episodes.get(rule.name)
        now, told = step(rule, was, seen, first, last)
        if told is not None:
            self._told.append(Alert(did, rule.name, *told, seen))
        if now == was:
            return
        self._changed[did] = None
        if now is None:
            del watched.episodes[rule.name]
        else:
            watched.episodes[rule.name] = now
            if (minute := _decides(rule, now)) is not None:
                self.expect(did, minute)

    def _end(self, did: str, watched: Watched, name: str, minute: int) -> None:
        episode = watched.episodes.pop(name)
        self._changed[did] = None
        if episode.state == FIRING:
            self._told.append(Alert(did, name, episode, RESOLVED, minute, NOTHING))

    def _expire(self, minute: int, dids: Container[str]) -> None:
        for did, watched in list(self._watched.items()):
            if watched.newest < minute - KEPT_MINUTES and did not in dids:
                for name in list(watched.episodes):
                    self._end(did, watched, name, minute)
                del self._watched[did]
                self._changed[did] = None

    def _pack(self, did: str) -> bytes | None:
        watched = self._watched.get(did)
        if watched is None or (watched.profile is None and not watched.episodes):
            return None
        profile = None if watched.profile is None else watched.profile.pack()
        return msgspec.msgpack.encode((_VERSION, watched.episodes, profile, watched.newest))


def _decides(rule: Rule, episode: Episode) -> int | None:
    """The minute at which an episode moves on by itself, if nothing else happens."""
    if episode.state == FIRING:
        return None if episode.clear is None else episode.clear + rule.keep
    return episode.minute + rule.hold if episode.state == PENDING else episode.minute


def _heard(rule: Rule, watched: Watched, minute: int) -> Seen:
    """What a silence's rule finds at a minute: it looks at the flows that should have come since the last one."""
    missing = 0.0 if watched.profile is None else watched.profile.expected(watched.newest, minute)
    return rule.look(Figures({}, missing))


def _next(rule: Rule, watched: Watched, ahead: range) -> int:
    """The first of these minutes (of one hour) at which a silence's rule may find anything, else the one after them."""
    if rule.name in watched.episodes:
        return ahead.start
    return ahead.start + bisect_left(ahead, True, key=lambda minute: _heard(rule, watched, minute).holds)
