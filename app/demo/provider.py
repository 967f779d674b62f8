"""The synthetic provider: traffic of a realistic shape whose every consequence is known. Pure.

It does no I/O and reads no clock: the same seed, start and options give the same bytes. A `Delivery` is one POST, in
the order in which the provider would push; it carries what it must cause, by the provider's own bookkeeping.

    provider = SyntheticProvider(seed=1, start=datetime.now(UTC), rate=2.0)
    for delivery in provider.deliveries(): ...          # live: post each when delivery.at has come
    for delivery in provider.backlog(3000, until=...):  # calls that ended between start and then
"""

import heapq
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from app.demo.answers import Expected, expected_records
from app.demo.calls import Calls, did_numbers
from app.demo.facts import Call
from app.demo.misbehaviour import USUAL, Misbehaviour, misbehave
from app.demo.spelling import DID_FORMS, document, render, spell_numbers

#: Load by hour of the day in India, 0 to 23, as a share of the peak: open 9 to 20, peaks at 11 and 16.
HOURS: Final = (1, 1, 1, 1, 1, 2, 4, 10, 30, 60, 85, 100, 80, 65, 75, 90, 100, 85, 65, 45, 25, 10, 4, 2)
PUSH_DELAY_MS: Final = (1_500, 2_500)
LATE_MS: Final = 300_000
RETRY_MS: Final = (5_000, 60_000)
CAMPAIGN_FLOWS: Final = (50, 500)
CAMPAIGN_PER_SECOND: Final = (50, 500)

#: One thing that happens: when a call ended (ms), and for calls of a campaign its DID.
Arrival = tuple[int, str | None]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST of the provider: its body, when it would be sent, and the call it tells of."""

    body: bytes
    at: datetime
    call: Call
    duplicate: bool

    @property
    def expected(self) -> list[Expected]:
        """The records that it must cause; for a duplicate the same as for the first push."""
        return expected_records(self.call)


class SyntheticProvider:
    """Endless seeded traffic, or a backlog of a given length, over `dids` numbers."""

    def __init__(
        self,
        seed: int = 1,
        *,
        start: datetime,
        dids: int = 40,
        rate: float = 2.0,
        misbehave: Misbehaviour = USUAL,
        daily: bool = False,
        campaigns_per_hour: float = 0.0,
    ) -> None:
        self._rng = Random(seed)  # noqa: S311 - it has to be repeatable
        self.dids = did_numbers(dids)
        self._calls = Calls(self._rng, self.dids)
        self._start = round(start.timestamp() * 1000)
        self._rate = rate
        self._misbehave = misbehave
        self._daily = daily
        self._campaigns_per_hour = campaigns_per_hour

    def deliveries(self, n: int | None = None) -> Iterator[Delivery]:
        """Deliveries as they would be pushed from `start` on, `rate` calls a second, for ever or n of them."""
        arrivals = heapq.merge(self._arrivals(), self._campaigns())
        return itertools.islice(self._pushes(arrivals), n)

    def backlog(self, n: int, *, until: datetime) -> Iterator[Delivery]:
        """n deliveries of calls that ended between `start` and `until`, whatever the rate."""
        last = round(until.timestamp() * 1000)
        ends = sorted(self._rng.randint(self._start, last) for _ in range(n))
        return itertools.islice(self._pushes((end, None) for end in ends), n)

    def _arrivals(self) -> Iterator[Arrival]:
        """Ends of calls as a Poisson process; by day, thinned to the load of the hour."""
        at = float(self._start)
        while True:
            at += self._rng.expovariate(self._rate) * 1000
            hour = int((at / 1000 + 19_800) % 86_400 // 3600)
            if not self._daily or self._rng.random() * 100 < HOURS[hour]:
                yield round(at), None

    def _campaigns(self) -> Iterator[Arrival]:
        """Bursts of outbound calls from one DID, 50 to 500 a second."""
        at = float(self._start)
        while self._campaigns_per_hour > 0:
            at += self._rng.expovariate(self._campaigns_per_hour) * 3_600_000
            did, per_second = self._calls.did(), self._rng.uniform(*CAMPAIGN_PER_SECOND)
            for index in range(self._rng.randint(*CAMPAIGN_FLOWS)):
                yield round(at + index * 1000 / per_second), did

    def _pushes(self, arrivals: Iterable[Arrival]) -> Iterator[Delivery]:
        """Every call's pushes, first ones and retries, in the order of their sending."""
        waiting: list[tuple[int, int, Delivery]] = []
        order = itertools.count()
        for ended, did in arrivals:
            while waiting and waiting[0][0] <= ended:
                yield heapq.heappop(waiting)[2]
            for at, delivery in self._told(ended, did):
                heapq.heappush(waiting, (at, next(order), delivery))
        while waiting:
            yield heapq.heappop(waiting)[2]

    def _told(self, ended: int, did: str | None) -> Iterator[tuple[int, Delivery]]:
        """One call's push, and its retry where there is one."""
        rng, shares = self._rng, self._misbehave
        call = self._calls.draw(ended, did=did, outbound=None if did is None else True)
        respelled = rng.random() < shares.respelled
        misbehave(call, rng, shares)
        spell_numbers(call, rng, forms=len(DID_FORMS) if respelled else 2)
        content = document(call, rng, respelled=respelled)
        at = ended + rng.randint(*PUSH_DELAY_MS)
        at += rng.randint(0, LATE_MS) if rng.random() < shares.late else 0
        yield at, self._delivery(call, content, at, duplicate=False)
        if rng.random() < shares.duplicates:
            at += rng.randint(*RETRY_MS)
            yield at, self._delivery(call, content, at, duplicate=True)

    def _delivery(self, call: Call, content: dict[str, Any], at: int, *, duplicate: bool) -> Delivery:
        bare = self._rng.random() < self._misbehave.bare
        body = render(content, self._rng, bare=bare, shuffled=duplicate)
        moment = datetime.fromtimestamp(0, tz=UTC) + timedelta(milliseconds=at)
        return Delivery(body=body, at=moment, call=call, duplicate=duplicate)


def expected_flows(deliveries: Iterable[Delivery]) -> list[dict[str, Any]]:
    """The Flow records that these deliveries must leave, each once however often it was pushed."""
    flows: list[dict[str, Any]] = []
    told: set[int] = set()
    for delivery in deliveries:
        if id(delivery.call) not in told:
            told.add(id(delivery.call))
            flows += [fields for record, fields in delivery.expected if record == "Flow"]
    return flows
