"""Segments: what was framed is read, and damage costs no other row than the one it hit."""

import io

from hypothesis import given
from hypothesis import strategies as st

from app.segment import KEPT, MAGIC, SENT, STATE_OFFSET, Row, frame, read_frames

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
rows = st.builds(
    Row,
    received_at=st.integers(0, 2**62),
    traceparent=st.sampled_from(["", TRACE]),
    body=st.binary(max_size=60) | st.binary(max_size=20).map(lambda b: b + MAGIC + b),
)


def read(data: bytes) -> list[Row | None]:
    return [found.row for found in read_frames(io.BytesIO(data))]


@given(st.lists(rows, max_size=10))
def test_rows_come_back_in_order(kept: list[Row]) -> None:
    assert read(b"".join(map(frame, kept))) == kept


@given(st.lists(rows, min_size=1, max_size=8), st.data())
def test_a_sent_row_is_not_read_again(kept: list[Row], data: st.DataObject) -> None:
    frames = [bytearray(frame(row)) for row in kept]
    sent = data.draw(st.integers(0, len(kept) - 1))
    frames[sent][STATE_OFFSET : STATE_OFFSET + 1] = SENT
    assert read(b"".join(frames)) == kept[:sent] + kept[sent + 1 :]


@given(st.lists(rows, min_size=1, max_size=8), st.data())
def test_damage_costs_only_what_it_hit(kept: list[Row], data: st.DataObject) -> None:
    frames = [frame(row) for row in kept]
    hit = data.draw(st.integers(0, len(kept) - 1))
    damaged = bytearray(frames[hit])
    place = data.draw(st.integers(0, len(damaged) - 1).filter(lambda n: n != STATE_OFFSET))
    damaged[place] ^= data.draw(st.integers(1, 255))
    found = read(b"".join([*frames[:hit], bytes(damaged), *frames[hit + 1 :]]))
    assert found[:hit] == kept[:hit]
    assert found[len(found) - len(kept[hit + 1 :]) :] == kept[hit + 1 :]
    assert None in found
    assert kept[hit] not in found or kept.count(kept[hit]) > 1


@given(st.lists(rows, min_size=1, max_size=8), st.data())
def test_a_torn_end_costs_only_the_last(kept: list[Row], data: st.DataObject) -> None:
    whole = b"".join(map(frame, kept))
    cut = data.draw(st.integers(1, len(frame(kept[-1])) - 1))
    assert read(whole[:-cut]) == [*kept[:-1], None]


@given(st.binary(max_size=300))
def test_any_bytes_are_read(data: bytes) -> None:
    found = list(read_frames(io.BytesIO(data)))
    assert [one.start for one in found[1:]] == [one.end for one in found[:-1]]
    assert all(one.state in (KEPT, b"") for one in found)
