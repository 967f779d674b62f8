"""The micro-benchmarks measure what a delivery usually takes, not what an odd one does."""

from app.split import Split
from benchmarks.micro import RECEIVED_AT, steps


def test_the_sample_is_split_as_it_was_when_it_came() -> None:
    parts = dict(steps())["split: document to 8 events"]()
    assert isinstance(parts, Split)
    assert len(parts.events) == 8
    assert {anomaly for event in parts.events for anomaly in event.anomalies} == {"ringingStartTime:out_of_range"}
    assert 0 <= RECEIVED_AT - max(event.occurred_at for event in parts.events) < 5_000
