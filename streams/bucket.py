"""A bucket: what one DID's minute holds, the counts and the 16-byte ids of the flows that made them. Pure.

The ids travel with the counts, in one changelog record: whoever reads the counts knows which flows are in them, and a
replay from any offset adds nothing twice. Buckets form a monoid under `merge`.
A bucket takes LIMIT flows; a busier minute has several, so that a changelog record stays under 10 KB and adding a flow
never rewrites more than that. Packed: a version byte, the counts as Avro longs in the order of COUNTS, the bins of the
histograms that are not empty (version 2; as many longs as there are, each bin's distance to the one before and its
calls, and a 0), the ids. It is kept packed in memory too (some 50 bytes and 16 a flow, a fraction of the object), and
unpacked when a flow is added.
"""

import re
from struct import Struct
from typing import Final

from schemas.encoding import long
from streams.decoding import compile_reader, number, varint
from streams.histogram import LANE_BITS, LANES
from streams.metrics import AMOUNTS, COUNTS, COUNTS_ONLY, HISTOGRAMS, LANE, joined, lanes

ID_BYTES: Final = 16
LIMIT: Final = 512  # flows in a bucket
VERSION: Final = 2
_VERSION: Final = bytes([VERSION])
_WITHOUT_HISTOGRAMS: Final = b"\1"  # what was written before there were any
_COUNTS: Final = {"type": "record", "name": "Counts", "fields": [{"name": name, "type": "long"} for name in COUNTS]}
_read: Final = compile_reader(_COUNTS, dict.fromkeys(COUNTS))

# As a rule all counts but the amounts are below 64, a byte each. They are written and read all at once then.
_LANE: Final = (1 << LANE_BITS) - 1
_NOT_A_BYTE: Final = sum(((1 << 64) - 64) << LANE[name] for name in COUNTS if name not in AMOUNTS)
_DOUBLE: Final = bytes(2 * n & 0xFF for n in range(256))
_HALF: Final = bytes(n // 2 for n in range(256))
_AT: Final = tuple(COUNTS.index(name) for name in AMOUNTS)
_SPANS: Final = tuple(zip((0, *(at + 1 for at in _AT)), (*_AT, len(COUNTS)), strict=True))
_AMOUNTS: Final = Struct("<" + "Q".join(f"{8 * (end - begin)}x" for begin, end in _SPANS))
_SHIFTS: Final = tuple(LANE[name] for name in AMOUNTS)
_BYTE: Final = "[" + "".join(f"\\x{2 * n:02x}" for n in range(64)) + "]"
_USUAL: Final = re.compile(
    "([\\x80-\\xff]{0,8}+[\\0-\\x7f])".join(f"({_BYTE}{{{end - begin}}})" for begin, end in _SPANS).encode("latin-1")
).match


def pack_counts(total: int) -> bytes:
    """The counts as Avro longs."""
    if total & _NOT_A_BYTE:
        return b"".join(map(long, lanes(total)))
    raw = total.to_bytes(_AMOUNTS.size, "little")
    low = raw[::8].translate(_DOUBLE)
    talk, ring, agent_talk, to_agent = map(_long, _AMOUNTS.unpack(raw))
    a, b, c, d = _AT
    return b"%b%b%b%b%b%b%b%b%b" % (
        low[:a], talk, low[a + 1 : b], ring, low[b + 1 : c], agent_talk, low[c + 1 : d], to_agent, low[d + 1 :]
    )  # fmt: skip


def _long(amount: int) -> bytes:
    """`long`, faster for what is never the same twice: seconds to minutes in ms."""
    if 0x2000 <= amount < 0x100000:
        return bytes((amount << 1 & 0x7F | 0x80, amount >> 6 & 0x7F | 0x80, amount >> 13))
    return long(amount)


def _unpack_counts(data: bytes) -> tuple[int, int]:
    """The counts that begin behind the version byte, and where they end."""
    usual = _USUAL(data, 1)
    if usual is None:
        values, end = _read(data, 1)
        return joined(values), end
    groups = usual.groups()
    raw = bytearray(_AMOUNTS.size)
    raw[::8] = b"\0".join(groups[::2]).translate(_HALF)
    total = int.from_bytes(raw, "little")
    for amount, shift in zip(groups[1::2], _SHIFTS, strict=True):
        if amount != b"\0":
            total += number(amount) << shift
    return total, usual.end()


def _pack_bins(histograms: int) -> bytes:
    """The bins that are not empty, in their order."""
    before, out = -1, list[bytes]()
    while histograms:
        lane = ((histograms & -histograms).bit_length() - 1) // LANE_BITS
        calls = histograms >> LANE_BITS * lane & _LANE
        histograms ^= calls << LANE_BITS * lane
        out += (long(lane - before), long(calls))
        before = lane
    return b"".join(out) + b"\0"


def _unpack_bins(data: bytes, at: int) -> tuple[int, int]:
    """The bins that begin there, as the integer of the histograms, and where they end."""
    histograms, lane = 0, -1
    while data[at]:
        step, at = varint(data, at)
        calls, at = varint(data, at)
        lane += step >> 1
        if step & 1 or lane >= LANES or not 0 < calls >> 1 <= _LANE or calls & 1:
            raise ValueError("no bin of a histogram")
        histograms |= calls >> 1 << LANE_BITS * lane
    return histograms, at + 1


class Bucket:
    """Counts as one integer (see metrics), and ids one after the other; `dirty` is for whoever writes it."""

    __slots__ = ("counts", "dirty", "ids")

    def __init__(self, counts: int = 0, ids: bytes = b"") -> None:
        self.counts = counts
        self.ids = ids
        self.dirty = False

    def add(self, event_id: bytes, counts: int) -> None:
        """Count a flow. The caller has seen to it that the id is new."""
        self.counts += counts
        self.ids += event_id

    def merge(self, other: "Bucket") -> "Bucket":
        """Both together; they may not share an id."""
        return Bucket(self.counts + other.counts, self.ids + other.ids)

    def each_id(self) -> list[bytes]:
        """The ids one by one."""
        ids = self.ids
        return [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]

    @property
    def full(self) -> bool:
        """Whether the next flow of the minute needs another bucket."""
        return len(self.ids) >= LIMIT * ID_BYTES

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bucket) and (self.counts, self.ids) == (other.counts, other.ids)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Bucket({self.counts:#x}, {self.ids.hex()!r})"

    def pack(self) -> bytes:
        """As bytes for the changelog; about 45 and 16 a flow."""
        counts, histograms = self.counts & COUNTS_ONLY, self.counts >> HISTOGRAMS
        return b"".join((_VERSION, pack_counts(counts), _pack_bins(histograms), self.ids))

    @classmethod
    def unpack(cls, data: bytes) -> "Bucket":
        """From `pack`'s bytes. Raises ValueError where they are none of ours, or of a later version."""
        if data[:1] not in (_VERSION, _WITHOUT_HISTOGRAMS):
            raise ValueError(f"bucket version {data[0]}; this program reads {VERSION}" if data else "an empty bucket")
        try:
            counts, at = _unpack_counts(data)
            if data[:1] == _VERSION:
                histograms, at = _unpack_bins(data, at)
                counts |= histograms << HISTOGRAMS
        except (IndexError, ValueError):
            raise ValueError("a bucket cut short, or none") from None
        if (len(data) - at) % ID_BYTES:
            raise ValueError("a bucket whose ids are cut short")
        return cls(counts, data[at:])
