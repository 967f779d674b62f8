"""A bucket: what one DID's minute holds, the counts and what is known of the flows that made them. Pure.

The 16-byte ids of the flows travel with the counts, in one changelog record: whoever reads the counts knows which flows
are in them, and a replay from any offset adds nothing twice. So do `facts`, who called and what he chose in the menu,
and `legs`, when each leg was up: what is not a sum over minutes is made of these (callers, paths, lines).
A bucket takes LIMIT flows; a busier minute has several, so that a changelog record stays under 20 KB and adding a flow
never rewrites more than that. Packed: a version byte, the counts as Avro longs in the order of COUNTS, the bins of the
histograms that are not empty (as many longs as there are, each bin's distance to the one before and its calls, and a
0), the number of ids and of facts, these, and the legs. It is kept packed in memory too, a fraction of the object, and
unpacked when a flow is added. Version 2 had fewer counts and nothing behind the ids, version 1 no histograms either.
"""

import re
from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from schemas.encoding import long
from streams.decoding import Reader, compile_reader, number, varint
from streams.histogram import LANE_BITS, LANES
from streams.metrics import AMOUNTS, COUNTS, COUNTS_ONLY, HISTOGRAMS, LANE, joined, lanes

MINUTE_MS: Final = 60_000
ID_BYTES: Final = 16
LIMIT: Final = 256  # flows in a bucket
VERSION: Final = 3
_VERSION: Final = bytes([VERSION])
_OLDER: Final = (b"\2", b"\1")
_OLDER_COUNTS: Final = 32


def _reader(names: tuple[str, ...]) -> Reader:
    counts = {"type": "record", "name": "Counts", "fields": [{"name": name, "type": "long"} for name in names]}
    return compile_reader(counts, dict.fromkeys(names))


_read: Final = _reader(COUNTS)
_read_older: Final = _reader(COUNTS[:_OLDER_COUNTS])

# As a rule all counts but the amounts are below 64, a byte each. They are written and read all at once then.
_LANE: Final = (1 << LANE_BITS) - 1
_NOT_A_BYTE: Final = sum(((1 << 64) - 64) << LANE[name] for name in COUNTS if name not in AMOUNTS)
_DOUBLE: Final = bytes(2 * n & 0xFF for n in range(256))
_HALF: Final = bytes(n // 2 for n in range(256))
_AT: Final = tuple(COUNTS.index(name) for name in AMOUNTS)
_SPANS: Final = tuple(zip((0, *(at + 1 for at in _AT)), (*_AT, len(COUNTS)), strict=True))
_AMOUNTS: Final = Struct("<" + "Q".join(f"{8 * (end - begin)}x" for begin, end in _SPANS))
_PARTS: Final = Struct("x".join(f"{end - begin}s" for begin, end in _SPANS))
_SHIFTS: Final = tuple(LANE[name] for name in AMOUNTS)
_BYTE: Final = "[" + "".join(f"\\x{2 * n:02x}" for n in range(64)) + "]"
_USUAL: Final = re.compile(
    "([\\x80-\\xff]{0,8}+[\\0-\\x7f])".join(f"({_BYTE}{{{end - begin}}})" for begin, end in _SPANS).encode("latin-1")
).match


_FACT: Final = Struct("<QHH")
_pack_fact: Final = _FACT.pack


def pack_counts(total: int) -> bytes:
    """The counts as Avro longs."""
    if total & _NOT_A_BYTE:
        return b"".join(map(long, lanes(total)))
    raw = total.to_bytes(_AMOUNTS.size, "little")
    parts = _PARTS.unpack(raw[::8].translate(_DOUBLE))
    amounts = [_long(amount) for amount in _AMOUNTS.unpack(raw)]
    return b"".join([*[part for two in zip(parts, amounts, strict=False) for part in two], parts[-1]])


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
    out = list[bytes]()
    while histograms:
        empty = ((histograms & -histograms).bit_length() - 1) // LANE_BITS
        histograms >>= LANE_BITS * empty
        out += (long(empty + 1), long(histograms & _LANE))
        histograms >>= LANE_BITS
    out.append(b"\0")
    return b"".join(out)


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


class Fact(NamedTuple):
    """What a flow tells of people. `caller`: a token of 64 bits, 0 for nobody. `call`: its time as `Callers` keep it.

    `path`: its number in the menu (see paths), 0 for none.
    """

    caller: int
    call: int
    path: int


class Bucket:
    """Counts as one integer (see metrics); ids, facts and legs each in a row; `dirty` is for whoever writes it."""

    __slots__ = ("counts", "dirty", "facts", "ids", "legs")

    def __init__(self, counts: int = 0, ids: bytes = b"", facts: bytes = b"", legs: bytes = b"") -> None:
        self.counts = counts
        self.ids = ids
        self.facts = facts
        self.legs = legs
        self.dirty = False

    def each_id(self) -> list[bytes]:
        """The ids one by one."""
        ids = self.ids
        return [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]

    def each_fact(self, minute: int) -> Iterator[Fact]:
        """The facts one by one, of flows that were of this minute."""
        begin = minute * MINUTE_MS
        for caller, ms, path in _FACT.iter_unpack(self.facts):
            yield Fact(caller, begin + ms << 1 | path >> 15, path & 0x7FFF)

    def each_path(self) -> list[int]:
        """The paths of those that went one."""
        return [path & 0x7FFF for _, _, path in _FACT.iter_unpack(self.facts) if path & 0x7FFF]

    @property
    def full(self) -> bool:
        """Whether the next flow of the minute needs another bucket."""
        return len(self.ids) >= LIMIT * ID_BYTES

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bucket) and self._all() == other._all()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Bucket({self.counts:#x}, {self.ids.hex()!r}, {self.facts.hex()!r}, {self.legs.hex()!r})"

    def _all(self) -> tuple[int, bytes, bytes, bytes]:
        return self.counts, self.ids, self.facts, self.legs

    def pack(self) -> bytes:
        """As bytes for the changelog; about 60 and 50 a flow."""
        counts, histograms = self.counts & COUNTS_ONLY, self.counts >> HISTOGRAMS
        ids, facts = self.ids, self.facts
        sizes = long(len(ids) // ID_BYTES) + long(len(facts) // _FACT.size)
        return b"".join((_VERSION, pack_counts(counts), _pack_bins(histograms), sizes, ids, facts, self.legs))

    @classmethod
    def unpack(cls, data: bytes) -> "Bucket":
        """From `pack`'s bytes. Raises ValueError where they are none of ours, or of a later version."""
        if data[:1] != _VERSION and data[:1] not in _OLDER:
            raise ValueError(f"bucket version {data[0]}; this program reads {VERSION}" if data else "an empty bucket")
        try:
            return _unpack(data) if data[:1] == _VERSION else _unpack_older(data)
        except (IndexError, ValueError):
            raise ValueError("a bucket cut short, or none") from None


def _unpack(data: bytes) -> Bucket:
    counts, at = _unpack_counts(data)
    histograms, at = _unpack_bins(data, at)
    ids, at = varint(data, at)
    facts, at = varint(data, at)
    end_of_ids = at + (ids >> 1) * ID_BYTES
    end = end_of_ids + (facts >> 1) * _FACT.size
    if ids & 1 or facts & 1 or end > len(data):
        raise ValueError("a bucket cut short")
    return Bucket(counts | histograms << HISTOGRAMS, data[at:end_of_ids], data[end_of_ids:end], data[end:])


def _unpack_older(data: bytes) -> Bucket:
    values, at = _read_older(data, 1)
    counts = joined((*values, *[0] * (len(COUNTS) - _OLDER_COUNTS)))
    if data[:1] == b"\2":
        histograms, at = _unpack_bins(data, at)
        counts |= histograms << HISTOGRAMS
    if (len(data) - at) % ID_BYTES:
        raise ValueError("a bucket whose ids are cut short")
    return Bucket(counts, data[at:])


def fact(caller: int, ms: int, path: int, alone: bool) -> bytes:
    """A flow's fact, so many ms after the minute began. `alone`: it was answered, and no agent was called."""
    return _pack_fact(caller, ms, path | alone << 15)
