"""How spooled deliveries lie on disk: pure framing of rows in a segment, and reading that survives damage.

A segment is frames one after the other. A frame carries its own length and checksum, so that damage costs the rows it
hit and no other: the reader looks for the next frame that checks. The state byte stands outside the checksum: a row is
marked as sent by writing that one byte, which needs no free disk.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

MAGIC: Final = b"\xf5PhS"
KEPT: Final = b"K"
SENT: Final = b"S"
#: magic, state, length of the payload, checksum over length and payload
HEAD: Final = struct.Struct(">4scII")
#: received_at (ms), length of the traceparent
LEAD: Final = struct.Struct(">qB")
STATE_OFFSET: Final = 4
MOST_PAYLOAD_BYTES: Final = 1 << 28


class Row(NamedTuple):
    """A delivery as it was received: when (ms), its traceparent ("" if none), its body after inflating."""

    received_at: int
    traceparent: str
    body: bytes


class Found(NamedTuple):
    """Where a frame begins and ends, and its row, None once it was sent; or damaged bytes, without state or row."""

    start: int
    end: int
    state: bytes
    row: Row | None


def frame(row: Row) -> bytes:
    """The bytes of a row."""
    traceparent = row.traceparent.encode()
    payload = LEAD.pack(row.received_at, len(traceparent)) + traceparent + row.body
    return HEAD.pack(MAGIC, KEPT, len(payload), _checksum(payload)) + payload


def read_frames(segment: BinaryIO) -> Iterator[Found]:
    """The rows of a segment that were not sent yet, and each stretch of damage between frames, in order."""
    start = 0
    while True:
        segment.seek(start)
        head = segment.read(HEAD.size)
        if not head:
            return
        found = _frame_at(segment, start, head) or _damage_at(segment, start)
        if found.state != SENT:
            yield found
        start = found.end


def _frame_at(segment: BinaryIO, start: int, head: bytes) -> Found | None:
    """The frame that begins at `start` (where the segment stands behind its head), if it is whole."""
    if len(head) < HEAD.size:
        return None
    magic, state, length, checksum = HEAD.unpack(head)
    if magic != MAGIC or state not in (KEPT, SENT) or not LEAD.size <= length <= MOST_PAYLOAD_BYTES:
        return None
    payload = segment.read(length)
    if len(payload) < length or _checksum(payload) != checksum:
        return None
    return Found(start, start + HEAD.size + length, state, _row(payload) if state == KEPT else None)


def _damage_at(segment: BinaryIO, start: int) -> Found:
    """The bytes from `start` to the next whole frame, or to the end."""
    segment.seek(start)
    rest = segment.read()
    candidate = rest.find(MAGIC, 1)
    while candidate != -1:
        segment.seek(start + candidate)
        if _frame_at(segment, start + candidate, segment.read(HEAD.size)):
            return Found(start, start + candidate, b"", None)
        candidate = rest.find(MAGIC, candidate + 1)
    return Found(start, start + len(rest), b"", None)


def _row(payload: bytes) -> Row:
    received_at, length = LEAD.unpack_from(payload)
    body = LEAD.size + length
    return Row(received_at, payload[LEAD.size : body].decode("ascii", "replace"), payload[body:])


def _checksum(payload: bytes) -> int:
    return zlib.crc32(payload, len(payload))
