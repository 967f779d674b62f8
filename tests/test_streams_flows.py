"""flows, decoding and live: the fast readers and writers are the codec, byte for byte and field for field."""

import random
from collections import Counter
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import (
    HEADERS,
    SCHEMAS,
    Undecodable,
    canonical_text,
    decode,
    encode,
    header,
    registry_header,
    written_by,
)
from schemas.encoding import long
from schemas.settings import Window
from streams import flows, latest, live
from streams.decoding import FEW, SHORT, Reader, compile_reader, enums
from streams.lines import Busy
from streams.live import NO_SPAN, Live, Span
from streams.metrics import COUNTS, ONE, joined
from streams.paths import CHOICES, number
from tests.did_metrics import as_dict, window_metrics
from tests.flow_oracle import flow
from tests.recount import recount

WINDOWS = (Window("5m", 300), Window("1h", 3600), Window("24h", 86400))
OPTIONAL_MS = st.none() | st.integers(-(2**63), 2**63 - 1)
FLOW = {field["name"]: field["type"] for field in SCHEMAS["Flow"]["fields"]}
LEG = {field["name"]: field["type"] for field in FLOW["legs"]["items"]["fields"]}
FIELDS = FLOW.keys() - {"anomalies", "extra", "legs"}
ENUMS = enums(SCHEMAS["Flow"])
TEXT = st.text(max_size=80)


def any_flow(seed: int, **changes: Any) -> dict[str, Any]:
    return flow(random.Random(seed), "+912243692987", 1_763_800_000_000) | changes


@given(st.integers(0, 2**32), TEXT, st.lists(TEXT), st.dictionaries(TEXT, TEXT), OPTIONAL_MS)
def test_the_compiled_readers_read_what_the_codec_reads(
    seed: int, did: str, anomalies: list[str], extra: dict[str, str], started_at: int | None
) -> None:
    """Field by field; the reader for what is common refuses what is not, and nothing else."""
    value = encode("Flow", any_flow(seed, did=did, anomalies=anomalies, extra=extra, started_at=started_at))
    fields = decode(value)[1]
    everything = [as_read(FLOW[name], fields[name]) for name in FIELDS]
    legs = [[(as_read(LEG[name], leg[name]),) for leg in fields["legs"]] for name in LEG]
    assert read_one_by_one(value, common=False) == (everything, legs)
    texts = [did, *anomalies, *extra, *extra.values()]
    if any(len(text.encode()) >= SHORT for text in texts) or max(len(anomalies), len(extra)) >= FEW:
        with pytest.raises(ValueError, match="not this schema"):
            reader("talk_ms", common=True)(value, 10)
    elif (started_at or 0) < 0:
        with pytest.raises(ValueError, match="below 0"):
            reader("started_at", common=True)(value, 10)
    else:
        assert read_one_by_one(value, common=True) == (everything, legs)


def read_one_by_one(value: bytes, *, common: bool) -> tuple[list[Any], list[Any]]:
    """Each field by a reader that wants no other."""
    read = [reader(name, common=common)(value, 10) for name in FIELDS]
    legs = [reader(name, leg=True, common=common)(value, 10) for name in LEG]
    assert {end for _, end in read + legs} == {len(value)}
    return [fields[0] for fields, _ in read], [fields[0] for fields, _ in legs]


@cache
def reader(name: str, *, common: bool, leg: bool = False) -> Reader:
    return compile_reader(SCHEMAS["Flow"], {"legs": {name: None}} if leg else {name: None}, common=common)


def as_read(type_: Any, value: Any) -> Any:
    """A value as the compiled readers give it."""
    name = type_ if isinstance(type_, str) else type_["name"] if "symbols" in type_ else ""
    if name in ENUMS:
        return bytes([{symbol: byte for byte, symbol in ENUMS[name].items()}[value]])
    if name in ("boolean", "int"):
        return bytes([value]) if name == "boolean" else long(value)
    return value.encode() if isinstance(value, str) else value


@given(st.integers(0, 2**32), st.data())
def test_spoiled_bytes_are_undecodable_or_what_the_codec_reads(seed: int, data: st.DataObject) -> None:
    """Whatever byte changes, the reader never hangs, never raises anything else, never reads something else."""
    value = bytearray(encode("Flow", any_flow(seed)))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = flows.read(bytes(value), timestamp=2**62)
        fields = decode(bytes(value))[1]
    except Undecodable:  # of the codec alone: for a text that is no UTF-8 in a field that is stepped over
        return
    assert (read.did, read.occurred_at) == (fields["did"], fields["occurred_at"])
    if all(leg["answered"] == (leg["disposition"] == "ANSWERED") for leg in fields["legs"]):
        [recounted] = recount([fields | {"occurred_at": 0, "caller": None}], read.did, 0, [("5m", 300)])
        own = ONE["flows_traceable"] if fields["caller"] is not None and fields["reached"] else 0
        window = window_metrics("5m", 300, 60_000, read.counts - own, [*Counter(read.tallies).items()])
        assert window == {name: recounted[name] for name in window}


@pytest.mark.parametrize("seed", range(4))
def test_no_byte_of_a_record_ends_a_worker(seed: int) -> None:
    value = encode("Flow", any_flow(seed))
    for at in range(len(value)):
        for byte in (1, 3, 0x80, 0xFF):
            spoiled = bytearray(value)
            spoiled[at] = byte
            with suppress(Undecodable):
                flows.read(bytes(spoiled), timestamp=2**62)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{}",
        b"\xc3\x01",
        header(SCHEMAS["Flow"]),
        header(SCHEMAS["Flow"]) + b"\x01" * 50,
        encode("Flow", any_flow(1)) + b"\0",
        encode("Flow", any_flow(1, event_id="not a uuid")),
        encode("Flow", any_flow(1, event_id="00")),
        encode("Flow", any_flow(1, occurred_at=1_763_800_000_000 + 10 * 60_000, received_at=1_763_800_000_000)),
        encode("Flow", any_flow(1, occurred_at=-(2**60))),
        encode("Flow", any_flow(1, dtmf_count=-1)),
        encode("Flow", any_flow(1, time_to_agent_ms=1 << 60)),
        encode("Flow", any_flow(1, occurred_at=2**62, received_at=2**62)),
        encode(
            "Rejected", {"flow_id": "", "section": "", "index": None, "reason": "", "payload": "", "received_at": 0}
        ),
    ],
)
def test_what_is_no_flow_is_undecodable(value: bytes | None) -> None:
    with pytest.raises(Undecodable):
        flows.read(value)


def test_a_flow_ahead_of_its_receiver_counts_where_kafka_saw_it_as_late() -> None:
    at = 1_763_800_000_000
    value = encode("Flow", any_flow(1, occurred_at=at, received_at=0))
    assert flows.read(value, timestamp=at - flows.FUTURE_MS).occurred_at == at
    with pytest.raises(Undecodable):
        flows.read(value, timestamp=at - flows.FUTURE_MS - 1)


def test_a_flow_is_read() -> None:
    record = any_flow(7)
    read = flows.read(encode("Flow", record))
    assert (read.did, read.occurred_at) == (record["did"], record["occurred_at"])
    assert read.event_id.hex() == record["event_id"].replace("-", "")


PATHS = st.lists(st.sampled_from(CHOICES), min_size=1, max_size=3).map(lambda path: number(">".join(path).encode()))
SPANS = st.builds(
    Span,
    st.dictionaries(st.integers(0, 383) | PATHS, st.integers(1, 2**31), max_size=150).map(lambda held: [*held.items()]),
    st.builds(Busy, st.integers(0, 2**20), st.integers(0, 2**50)),
)
COUNT = st.one_of(st.integers(0, 9), st.integers(0, 300), st.integers(0, 2**62))
AMOUNTS = st.lists(st.integers(0, 2**62), min_size=len(COUNTS), max_size=len(COUNTS))


@given(TEXT, st.integers(0, 4_000_000_000_000), AMOUNTS, st.booleans(), st.lists(SPANS, min_size=3, max_size=3))
def test_metrics_are_the_codecs_bytes(did: str, as_of: int, counts: list[int], same: bool, spans: list[Span]) -> None:
    total = joined(tuple(counts))
    sums = (total, total if same else joined((0, *counts[1:])), 0)
    record = Live(did, as_of, sums, (spans[0], spans[0] if same else spans[1], spans[2]), 60_000)
    assert live.value(record, WINDOWS) == encode("DidMetrics", as_dict(record, WINDOWS))


def test_metrics_of_few_are_the_codecs_bytes_too() -> None:
    """As a rule nearly all counts are small."""
    record = Live("A", 0, (joined([*range(20), 90_000, *[1] * (len(COUNTS) - 21)]), 0, 0), (NO_SPAN,) * 3, 0)
    assert live.value(record, WINDOWS) == encode("DidMetrics", as_dict(record, WINDOWS))


BY_CODEC = written_by(canonical_text(SCHEMAS["DidMetrics"]))._replace(header=b"")


@settings(max_examples=300)
@given(
    *(
        st.text(max_size=70),
        st.integers(0, 4_000_000_000_000),
        st.lists(COUNT, min_size=len(COUNTS), max_size=len(COUNTS)),
    ),
    *(st.lists(SPANS, min_size=3, max_size=3), st.booleans(), st.none() | st.tuples(st.integers(0), st.binary())),
)
def test_metrics_are_read_as_the_codec_reads_them(
    did: str, as_of: int, counts: list[int], spans: list[Span], same: bool, broken: tuple[int, bytes] | None
) -> None:
    """Also where bytes of a record were replaced by others."""
    total = joined(counts)
    record = Live(did, as_of, (total, total, 0), (spans[0], spans[0] if same else spans[1], spans[2]), 60_000)
    body = live.value(record, WINDOWS)[10:]
    if broken:
        at = broken[0] % len(body)
        body = body[:at] + broken[1] + body[at + len(broken[1]) :]

    def outcome(value: bytes) -> Live | None:
        try:
            return latest.read(value, WINDOWS, lambda _: BY_CODEC)
        except Undecodable:
            return None

    assert outcome(HEADERS["DidMetrics"] + body) == outcome(registry_header(7) + body)


def test_headers_are_cloud_events() -> None:
    assert dict(live.headers(Live("+912243692987", 1_763_800_102_003, (0, 0, 0), (NO_SPAN,) * 3, 0))) == {
        "ce_specversion": b"1.0",
        "ce_id": b"+912243692987@1763800102003",
        "ce_type": b"phonon.did-metrics.v1",
        "ce_source": b"/phonon/metrics",
        "ce_time": b"2025-11-22T08:28:22.003Z",
        "content-type": b"application/avro",
    }
