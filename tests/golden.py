"""The provider's calls as flow records, its own account of them, and what makes two runs of workers comparable.

Flows are the receiver's: its pure middle reads what the synthetic provider would post, retries and odd deliveries too.
The account is the provider's own bookkeeping, recounted; it has seen no code of the receiver or the workers.
Two runs end in equal records, `as_of` included, once every DID has had a flow that happens `AHEAD` of now: as the
contract says, a partition's clock then stands there until now catches up.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from app.delivery import read_document
from app.demo.misbehaviour import ROUGH
from app.demo.provider import SyntheticProvider
from app.split import Rules, split
from schemas import decode, encoder
from tests.flow_oracle import Record, flow
from tests.flow_traffic import FlowTopic
from tests.recount import recount

ENCODE = encoder("Flow")
RULES = Rules(zone=ZoneInfo("Asia/Kolkata"), region="IN")
AHEAD = timedelta(seconds=60)
SPAN = timedelta(hours=22)
ENOUGH = 1_000_000  # deliveries: more than any run takes
RETRIES = timedelta(minutes=10)  # before now, so that no flow whose time only the receiver knows lies ahead


class Provided:
    """Calls of the last day: iterate for each delivery's flow records, as the receiver makes them."""

    def __init__(self, seed: int) -> None:
        until = datetime.now(UTC) - RETRIES
        provider = SyntheticProvider(seed, start=until - SPAN, dids=60, misbehave=ROUGH)
        self._deliveries = provider.backlog(ENOUGH, until=until)
        self._told: set[int] = set()
        self._calls: list[Any] = []  # kept, or an id might be another call's
        self.account: list[Record] = []

    def __iter__(self) -> Iterator[list[Record]]:
        for delivery in self._deliveries:
            received_at = round(delivery.at.timestamp() * 1000)
            if id(delivery.call) not in self._told:
                self._told.add(id(delivery.call))
                self._calls.append(delivery.call)
                for record, fields in delivery.expected:
                    if record == "Flow":
                        at = received_at if fields["occurred_at"] is None else fields["occurred_at"]
                        self.account.append(fields | {"occurred_at": at, "event_id": len(self.account)})
            events = split(read_document(delivery.body), received_at=received_at, rules=RULES).events
            yield [decode(ENCODE(event))[1] for event in events if type(event).__name__ == "Flow"]


def close(topic: FlowTopic) -> int:
    """Give every DID a last flow, all at one moment ahead; returns that moment."""
    moment = round((datetime.now(UTC) + AHEAD).timestamp() * 1000)
    topic.send([flow(topic.rng, did, moment) for did in sorted({record["did"] for record in topic.sent})])
    topic.flush()
    return moment


def wrong_accounts(provided: Provided, topic: FlowTopic, latest: dict[str, Record], moment: int) -> list[str]:
    """The provider's DIDs whose metrics are not what its own account and the last flow give at that moment."""
    last = [record for record in topic.sent if record["occurred_at"] == moment]
    by_did: dict[str, list[Record]] = {}
    for record in [*provided.account, *last]:
        by_did.setdefault(record["did"], []).append(record)
    dids = {record["did"] for record in provided.account}
    return [did for did in sorted(dids) if latest[did]["windows"] != recount(by_did[did], did, moment)]
