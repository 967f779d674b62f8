"""The state of one partition: its DIDs, their clock, the next source offset; and what of it is to be written. Pure.

What changed is handed out as one batch of changelog records and live metrics, to be written all or none: changed and
deleted buckets, the offset that comes next, the clock. Restoring the last record of each key, in any order, gives the
same table. The deletion of a DID's last bucket waits for the metrics of zeros and goes with them, so that no crash can
leave stale figures behind.
"""

import struct
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from streams.alerts import Alert, Alerts, Held
from streams.bucket import MINUTE_MS, Bucket
from streams.clock import Clock
from streams.live import Live, Span
from streams.rules import NO_RULES, Rules
from streams.windows import PART_BITS, Flow, Rolling

COUNTED: Final = "counted"
DUPLICATE: Final = "duplicate"
LATE: Final = "late"

EMIT_EVERY_SECONDS: Final = 1.0  # at most one record of a DID within this time

OFFSET_KEY: Final = b"o"
ALERTS_KEY: Final = b"a"  # then the DID
GROUPS_KEY: Final = b"g"  # then the group: none of a table's, see gathering
_BUCKET: Final = b"b"
_PLACE_BYTES: Final = 10  # big-endian: 8 for the minute, 2 for the part
_OFFSET: Final = struct.Struct(">Bqqqq")
_VERSION: Final = 1
_NONE: Final = -(1 << 63)


class Changes(NamedTuple):
    """Changelog records (None deletes), metrics and alerts that belong together."""

    changelog: list[tuple[bytes, bytes | None]]
    live: list[Live]
    alerts: list[Alert]


class Table:
    """One partition's DIDs. `windows`: lengths in minutes, in the order of the settings; `rules` may need others."""

    def __init__(self, windows: Sequence[int], rules: Rules = NO_RULES) -> None:
        self.lengths = tuple(sorted({*windows, *rules.lengths}))
        self.alerts = Alerts(rules)
        self._order = tuple(self.lengths.index(length) for length in windows)
        self.clock = Clock()
        self.next_offset: int | None = None
        self.dids: dict[str, Rolling] = {}
        self._minute = _NONE  # of as_of; _NONE as long as nothing was seen
        self._now = _NONE
        self._at: dict[int, dict[str, None]] = {}  # minute -> DIDs with a bucket there
        self._leaving = OrderedDict[str, None]()  # DIDs of which a bucket leaves a window, each once
        self._changed: dict[str, None] = {}  # DIDs whose metrics are to be written, longest first
        self._dropped: dict[str, float] = {}  # DIDs written for the last time, and when: one may be back at once
        self._dirty: dict[tuple[str, int], Bucket] = {}  # by DID and place
        self._warm: dict[tuple[str, int], bytes] = {}  # the last batch's: kept packed if the next has none of them
        self._gone: list[tuple[str, int]] = []
        self._moved = False  # whether next offset or clock are to be written

    @property
    def buckets(self) -> int:
        """How many DID minutes are held."""
        return sum(map(len, self._at.values()))

    @property
    def waiting(self) -> int:
        """How many DIDs have metrics to be written."""
        return len(self._changed) + len(self._leaving)

    def add(self, flow: Flow, *, timestamp: int, now: int) -> str:
        """Count a flow, or say why not. `timestamp`: Kafka's, `now`: the clock's, both ms."""
        did, event_id, occurred_at = flow[:3]
        if self.clock.see(occurred_at, timestamp) or now != self._now:
            self._move_to(now)
        minute = occurred_at // MINUTE_MS
        if minute <= self._minute - self.lengths[-1]:
            return LATE
        rolling = self.dids.get(did)
        if rolling is None:
            rolling = self.dids[did] = Rolling(self._minute, self.lengths)
            rolling.emitted_at = self._dropped.get(did, rolling.emitted_at)
        elif rolling.minute != self._minute:
            self._advance(did, rolling)
        if not rolling.admit(minute, event_id):
            return DUPLICATE
        place, bucket, changes = rolling.add(minute, flow)
        if not bucket.dirty:
            bucket.dirty = True
            self._dirty[did, place] = bucket
            self._at.setdefault(minute, {})[did] = None
        for at, change in changes:
            place, bucket = rolling.change(at // MINUTE_MS, change)
            self._dirty[did, place], bucket.dirty = bucket, True
        self._changed[did] = None
        if self.alerts.watching:
            self.alerts.expect(did, self._minute + 1)  # to be looked at once the minute is over
        return COUNTED

    def passed(self, next_offset: int) -> None:
        """All records before this offset are counted, or never will be."""
        if next_offset != self.next_offset:
            self.next_offset = next_offset
            self._moved = True

    def roll(self, *, now: int, most: int) -> bool:
        """Move on to `now`: at most so many DIDs a call, so that thousands going quiet together stall nothing.

        Says whether there are more.
        """
        self._move_to(now)
        for _ in range(min(most, len(self._leaving))):
            did, _ = self._leaving.popitem(last=False)
            rolling = self.dids.get(did)
            if rolling is not None and rolling.minute != self._minute:
                self._advance(did, rolling)
        return bool(self._leaving)

    def take(self, *, now: int, seconds: float, most: int) -> Changes:
        """What is to be written, with the metrics of at most so many DIDs. `seconds`: a clock that never steps back."""
        self._move_to(now)
        self._dropped = {did: at for did, at in self._dropped.items() if seconds - at < EMIT_EVERY_SECONDS}
        live = [self._live(did) for did in self._due(seconds, most)]
        packed = {}
        for at, bucket in self._dirty.items():
            packed[at], bucket.dirty = bucket.pack(), False
        for at, value in self._warm.items():
            if at not in packed:
                did, place = at
                self.dids[did].buckets[place] = value
        self._warm = packed
        records: list[tuple[bytes, bytes | None]] = [(_key(*at), value) for at, value in packed.items()]
        records += [(_key(*at), None) for at in self._gone]
        alerts, state = self.alerts.take()
        records += [(ALERTS_KEY + did.encode(), where) for did, where in state]
        if records or live or self._moved:
            records.append((OFFSET_KEY, self._offset()))
        self._dirty, self._gone, self._moved = {}, [], False
        return Changes(records, live, alerts)

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take in a record of the changelog. Raises ValueError where it is none of ours."""
        if key.startswith(ALERTS_KEY):
            self.alerts.restore(key[len(ALERTS_KEY) :].decode(), value)
            return
        if key.startswith(GROUPS_KEY):
            return
        if key == OFFSET_KEY:
            if value is None:
                return
            version, *rest = _OFFSET.unpack(value)
            if version != _VERSION:
                raise ValueError(f"state version {version}; this program reads {_VERSION}")
            self.next_offset, *clock = (None if number == _NONE else number for number in rest)
            self.clock = Clock(*clock)
            return
        did, place = key[1 + _PLACE_BYTES :].decode(), int.from_bytes(key[1 : 1 + _PLACE_BYTES], signed=True)
        rolling = self.dids.get(did)
        if value is None:
            if rolling is not None and rolling.buckets.pop(place, None) is not None:
                self._leave(did, place)
                if not rolling.buckets:  # it has been written for the last time
                    del self.dids[did]
            return
        if rolling is None:
            rolling = self.dids[did] = Rolling(0, self.lengths)
        rolling.buckets[place] = value
        self._at.setdefault(place >> PART_BITS, {})[did] = None

    def settle(self, *, seconds: float = float("-inf")) -> None:
        """Make the restored table whole, and have every DID's metrics written anew, as of now.

        `seconds`: since when nobody else writes them; until then another worker may have written any of them.
        """
        floor = self.clock.floor
        self._minute = _NONE if floor is None else floor // MINUTE_MS
        for did, rolling in self.dids.items():
            rolling.minute, rolling.emitted_at = self._minute, seconds
            self._forget(did, rolling, rolling.settle())
            self._changed[did] = None
        self.alerts.settle(self.dids, self._minute)

    def _move_to(self, now: int) -> None:
        self._now, as_of = now, self.clock.as_of(now)
        if as_of is None:
            return
        was, self._minute = self._minute, as_of // MINUTE_MS
        if was < self._minute and was != _NONE:
            for length in self.lengths:
                for minute in self._held(was - length, self._minute - length):
                    self._leaving.update(self._at[minute])
            self._leaving.update(dict.fromkeys(self.alerts.due(was, self._minute, self.dids)))

    def _held(self, after: int, until: int) -> list[int]:
        if until - after <= len(self._at):
            return [minute for minute in range(after + 1, until + 1) if minute in self._at]
        return [minute for minute in self._at if after < minute <= until]

    def _look(self, did: str, rolling: Rolling) -> None:
        """Let the alerts look at a DID at each minute up to the present one."""
        while rolling.minute < self._minute and rolling.buckets:
            first = rolling.minute + 1
            last = rolling.next_change(self._minute) if first < self._minute else first
            sums = dict(zip(self.lengths, rolling.sums, strict=True))
            self.alerts.look(did, Held(first, last, sums, rolling.newest))
            if last == self._minute:
                return
            self._forget(did, rolling, rolling.advance(last))

    def _advance(self, did: str, rolling: Rolling) -> None:
        """Move a DID on to the present minute; its metrics are to be written if that changes them."""
        sums = list(rolling.sums)
        if self.alerts.watching:
            self._look(did, rolling)
        dropped = rolling.advance(self._minute)
        if dropped or rolling.kept:
            self._forget(did, rolling, dropped)
        if sums == rolling.sums:
            return
        if self.alerts.watching:
            self.alerts.expect(did, self._minute + 1)
        if any(sums[n] != rolling.sums[n] for n in self._order):
            self._changed[did] = None

    def _forget(self, did: str, rolling: Rolling, dropped: list[int]) -> None:
        """Delete buckets from the changelog: now, or with the DID's last metrics if they were its last."""
        for place in dropped:
            self._dirty.pop((did, place), None)
            self._warm.pop((did, place), None)
            self._leave(did, place)
        rolling.kept += dropped
        if rolling.buckets:
            self._gone += [(did, kept) for kept in rolling.kept]
            rolling.kept = []
        elif dropped:
            self.alerts.forget(did, (max(dropped) >> PART_BITS) + self.lengths[-1])

    def _leave(self, did: str, place: int) -> None:
        minute = place >> PART_BITS
        at = self._at.get(minute)
        if at is not None:
            at.pop(did, None)
            if not at:
                del self._at[minute]

    def _due(self, seconds: float, most: int) -> list[str]:
        due: list[str] = []
        for did in self._changed:
            if len(due) >= most:
                break
            if seconds - self.dids[did].emitted_at >= EMIT_EVERY_SECONDS:
                self.dids[did].emitted_at = seconds
                due.append(did)
        return due

    def _live(self, did: str) -> Live:
        rolling, as_of = self.dids[did], self.clock.floor
        assert as_of is not None
        if rolling.minute != self._minute:
            self._advance(did, rolling)
        del self._changed[did]
        if not rolling.buckets:
            self._gone += [(did, kept) for kept in rolling.kept]
            self._dropped[did] = rolling.emitted_at
            del self.dids[did]
        busy, longest_ms = rolling.busy()
        tallies = rolling.tallies()
        spans = tuple([Span(tallies[n], busy[n]) for n in self._order])
        return Live(did, as_of, tuple([rolling.sums[n] for n in self._order]), spans, longest_ms)

    def _offset(self) -> bytes:
        numbers = (self.next_offset, self.clock.w, self.clock.lag, self.clock.floor)
        return _OFFSET.pack(_VERSION, *(_NONE if number is None else number for number in numbers))


def _key(did: str, place: int) -> bytes:
    return _BUCKET + place.to_bytes(_PLACE_BYTES, signed=True) + did.encode()
