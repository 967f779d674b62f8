"""The synthetic provider: repeatable, shaped as it claims, and right about what it causes.

The last is the point of it: its own bookkeeping and the receiver's reading are two accounts of one contract.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import mean
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.delivery import read_document
from app.demo.answers import FLOW_LEG
from app.demo.misbehaviour import ROUGH, USUAL, Misbehaviour
from app.demo.provider import Delivery, SyntheticProvider, expected_flows
from app.events import as_dict
from app.split import Rules, Split, split

START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
RULES = Rules(zone=ZoneInfo("Asia/Kolkata"), region="IN")
RECEIVED_ONLY = ("event_id", "received_at", "reason", "payload")


def made(seed: int, n: int, *, misbehave: Misbehaviour = USUAL, dids: int = 40, hours: int = 24) -> list[Delivery]:
    provider = SyntheticProvider(seed, start=START, dids=dids, misbehave=misbehave)
    return list(provider.backlog(n, until=START + timedelta(hours=hours)))


def split_of(delivery: Delivery) -> Split:
    return split(read_document(delivery.body), received_at=received(delivery), rules=RULES)


def received(delivery: Delivery) -> int:
    return round(delivery.at.timestamp() * 1000)


def told(delivery: Delivery) -> list[tuple[str, dict[str, Any]]]:
    """What the receiver reads, as the provider would say it."""
    read = split_of(delivery)
    records = [(type(event).__name__, as_dict(event)) for event in (*read.events, *read.rejected)]
    for record, fields in records:
        for name in RECEIVED_ONLY:
            fields.pop(name, None)
        for leg in fields.get("legs", ()):
            for name in leg.keys() - set(FLOW_LEG):
                del leg[name]
        if record != "Rejected":
            fields["anomalies"].sort()
    return records


def foretold(delivery: Delivery, *, flow_id: str) -> list[tuple[str, dict[str, Any]]]:
    """What the provider says, with what only the receiver can know filled in."""
    records = [(record, dict(fields)) for record, fields in delivery.expected]
    for record, fields in records:
        fields["flow_id"] = fields["flow_id"] or flow_id
        if record != "Rejected":
            fields["anomalies"] = sorted(fields["anomalies"])
            if fields["occurred_at"] is None:
                fields["occurred_at"] = received(delivery)
    return records


def in_order(records: Iterable[tuple[str, dict[str, Any]]]) -> list[tuple[str, bytes]]:
    return sorted((record, msgspec.json.encode(fields, order="sorted")) for record, fields in records)


@pytest.mark.parametrize(("seed", "misbehave"), [(1, USUAL), (2, ROUGH), (3, ROUGH)])
def test_it_knows_what_the_receiver_reads_out_of_thousands_of_deliveries(seed: int, misbehave: Misbehaviour) -> None:
    for delivery in made(seed, 2_000, misbehave=misbehave):
        flow_id = split_of(delivery).flow_id
        assert in_order(told(delivery)) == in_order(foretold(delivery, flow_id=flow_id)), delivery.body.decode()


def test_a_retry_says_the_same_in_other_bytes_and_gets_the_same_ids() -> None:
    deliveries = made(4, 2_000, misbehave=ROUGH)
    first = {id(d.call): d for d in deliveries if not d.duplicate}
    retries = [d for d in deliveries if d.duplicate]
    assert len(retries) > 30
    for retry in retries:
        original = first[id(retry.call)]
        assert retry.body != original.body
        assert retry.at > original.at
        ids, again = ([event.event_id for event in split_of(d).events] for d in (original, retry))
        assert sorted(ids) == sorted(again)


def test_no_two_events_of_different_calls_share_an_id() -> None:
    ids = Counter(e.event_id for d in made(5, 1_000, misbehave=ROUGH) if not d.duplicate for e in split_of(d).events)
    assert set(ids.values()) == {1}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), rough=st.booleans())
def test_the_same_seed_makes_the_same_bytes(seed: int, rough: bool) -> None:
    misbehave = ROUGH if rough else USUAL
    once, again = (made(seed, 20, misbehave=misbehave) for _ in range(2))
    assert [(d.body, d.at, d.duplicate) for d in once] == [(d.body, d.at, d.duplicate) for d in again]


def test_another_seed_makes_other_calls() -> None:
    assert made(1, 5)[0].body != made(2, 5)[0].body


def test_live_traffic_is_pushed_in_order_about_two_seconds_after_each_call() -> None:
    provider = SyntheticProvider(6, start=START, rate=5.0, misbehave=Misbehaviour(duplicates=0.0, late=0.0))
    deliveries = list(provider.deliveries(1_000))
    assert [d.at for d in deliveries] == sorted(d.at for d in deliveries)
    assert {1_500 <= received(d) - d.call.ended <= 2_500 for d in deliveries} == {True}
    assert mean((b.at - a.at).total_seconds() for a, b in pairwise(deliveries)) == pytest.approx(1 / 5, rel=0.15)


def test_the_day_has_its_shape_and_campaigns_their_bursts() -> None:
    by_day = SyntheticProvider(7, start=START, rate=0.1, daily=True)
    hours = Counter((d.at.astimezone(RULES.zone).hour) for d in by_day.deliveries(10_000))
    assert hours[11] > 2 * hours[8] > 0
    assert hours[3] < hours[16] / 10
    campaign = SyntheticProvider(8, start=START, rate=0.001, campaigns_per_hour=20)
    seconds = Counter(d.call.ended // 1000 for d in campaign.deliveries(3_000))
    assert max(seconds.values()) >= 50


def test_shares_are_those_of_the_field() -> None:
    calls = [d.call for d in made(9, 6_000, misbehave=Misbehaviour(duplicates=0.0)) if d.call.legs]
    outbound = [call for call in calls if not call.legs[0].incoming]
    assert len(outbound) / len(calls) == pytest.approx(0.55, abs=0.03)
    first = Counter(call.legs[0].outcome for call in outbound)
    for outcome, share in (("ANSWERED", 0.38), ("NO_ANSWER", 0.30), ("BUSY", 0.14), ("REJECTED", 0.06)):
        assert first[outcome] / len(outbound) == pytest.approx(share, abs=0.03)
    legs = Counter(min(len(call.legs), 3) for call in calls if call.legs[0].incoming)
    inbound = legs.total()
    assert [legs[n] / inbound for n in (1, 2, 3)] == pytest.approx([0.57, 0.34, 0.10], abs=0.04)
    assert mean(len(call.sms) for call in calls) == pytest.approx(0.4, abs=0.05)
    assert mean(len(call.emails) for call in calls) == pytest.approx(0.15, abs=0.03)
    assert {len(call.keys) for call in calls} == set(range(2, 11))
    talks = [leg.duration or 0 for call in calls for leg in call.legs[:1] if leg.connected is not None]
    assert mean(talks) / 1000 == pytest.approx(180, rel=0.2)
    assert mean(talk < 10_000 for talk in talks) == pytest.approx(0.08, abs=0.02)


def test_dids_are_all_used_and_by_zipf() -> None:
    deliveries = made(10, 5_000)
    provider = SyntheticProvider(10, start=START)
    used = Counter(leg.did for d in deliveries for leg in d.call.legs[:1])
    assert set(used) == set(provider.dids)
    assert len(set(provider.dids)) == 40
    assert provider.dids[0] == "+912243692987"
    assert used[provider.dids[0]] > 5 * used[provider.dids[10]]
    many = SyntheticProvider(1, start=START, dids=50_000).dids
    assert len(set(many)) == 50_000


def test_both_spellings_of_a_did_and_duplicates_come_as_often_as_asked() -> None:
    deliveries = made(11, 3_000, misbehave=Misbehaviour(duplicates=0.03))
    assert mean(d.duplicate for d in deliveries) == pytest.approx(0.03, abs=0.01)
    forms = {leg.did_sent[0] for d in deliveries for leg in d.call.legs if leg.did_sent}
    assert forms == {"9", "+"}


def test_a_flow_is_expected_once_however_often_it_is_pushed() -> None:
    deliveries = made(12, 500, misbehave=Misbehaviour(duplicates=0.5))
    calls = {id(d.call) for d in deliveries}
    flows = expected_flows(deliveries)
    assert sum(flow["main"] for flow in flows) == len(calls) < 400
