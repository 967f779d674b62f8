"""A bucket: what one DID's minute holds, the counts and what is known of the flows that made them. Pure.

The flows' 16-byte ids travel with the counts, in one changelog record: whoever reads the counts knows which flows are
in them, and a replay from any offset adds nothing twice. So do the tallies of bins and paths (histogram, paths), in the
order they came, `calls`, who called when (callers), and `legs`, when each leg was up (lines): plain lists of numbers,
to which a new flow only appends.
A bucket takes LIMIT flows, or fewer with many legs; a busier minute has several, so that a changelog record stays under
40 KB and adding a flow never rewrites more than that. Only a flow of thousands of legs makes a larger one: with as many
legs as a delivery may have rows it is just under 1 MiB, the most that Kafka takes.
Packed: the version, the counts (a byte each and the amounts in 32 bits, or all in 64), the numbers of ids, calls and
tallies, these, and the legs. It stays packed in memory too, at a fraction of the object's size, until a flow is added.
Versions 1 and 2 had fewer counts, as Avro longs, and nothing after the ids; before these version 2 had its bins, each
as a pair of longs (the distance to the bin before, and the calls), up to a 0.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct, error
from typing import Final

from schemas.encoding import long
from streams.decoding import compile_reader, varint
from streams.histogram import NUMBERS
from streams.metrics import AMOUNTS, COUNTS, LANE, joined

MINUTE_MS: Final = 60_000
ID_BYTES: Final = 16
LIMIT: Final = 256  # flows in a bucket
NUMBERS_LIMIT: Final = 4096  # and numbers told of their legs, not counting the last flow's; a leg has up to four
VERSION: Final = 3
_VERSION: Final = bytes([VERSION])
_SMALL, _LARGE = b"\0", b"\1"
_OLDER: Final = (b"\2", b"\1")
_OLDER_COUNTS: Final = COUNTS[:32]
_read_older: Final = compile_reader(
    {"type": "record", "name": "Counts", "fields": [{"name": name, "type": "long"} for name in _OLDER_COUNTS]},
    dict.fromkeys(_OLDER_COUNTS),
)

_AT: Final = tuple(COUNTS.index(name) for name in AMOUNTS)
#: The counts between the amounts, as places in COUNTS.
SPANS: Final = tuple(zip((0, *(at + 1 for at in _AT)), (*_AT, len(COUNTS)), strict=True))
#: The amounts among the counts' 64-bit lanes.
AMONG: Final = Struct("<" + "Q".join(f"{8 * (end - begin)}x" for begin, end in SPANS))
_AMOUNTS: Final = Struct(f"<{len(AMOUNTS)}I")
_SMALL_BYTES: Final = len(COUNTS) + _AMOUNTS.size
_NOT_SMALL: Final = sum(((1 << 64) - (1 << (32 if name in AMOUNTS else 8))) << LANE[name] for name in COUNTS)
_PAIR_BYTES: Final = 16


@lru_cache(maxsize=4096)
def _rows(calls: int, tallies: int, legs: int) -> Struct:
    """The lists, of so many numbers each."""
    return Struct(f"<{calls}Q{tallies}H{legs}q")


def _pack_counts(counts: int) -> bytes:
    raw = counts.to_bytes(AMONG.size, "little")
    if counts & _NOT_SMALL:
        return _LARGE + raw
    return _SMALL + raw[::8] + _AMOUNTS.pack(*AMONG.unpack(raw))


def _unpack_counts(data: bytes) -> tuple[int, int]:
    """The counts that begin behind the version byte, and where they end."""
    if data[1:2] == _LARGE:
        end = 2 + AMONG.size
        return int.from_bytes(data[2:end], "little"), end
    end = 2 + _SMALL_BYTES
    raw = bytearray(AMONG.pack(*_AMOUNTS.unpack_from(data, end - _AMOUNTS.size)))
    raw[::8] = data[2 : end - _AMOUNTS.size]
    return int.from_bytes(raw, "little"), end


def _older_bins(data: bytes, at: int) -> tuple[list[int], int]:
    """The bins that begin there as version 2 wrote them, and where they end."""
    bins, number = list[int](), -1
    while data[at]:
        step, at = varint(data, at)
        calls, at = varint(data, at)
        number += step >> 1
        if step & 1 or number >= NUMBERS or calls & 1 or calls >> 1 > 2 * LIMIT * NUMBERS:
            raise ValueError("no bin of a histogram")
        bins += [number] * (calls >> 1)
    return bins, at + 1


class Bucket:
    """Counts as one integer (see metrics), ids one after the other, and lists; `dirty` is for whoever writes it.

    `calls`: pairs of a caller's token and the ms since the minute began, doubled, one more where no agent was needed.
    `legs`: pairs of start and end, ms since 1970 UTC.
    """

    __slots__ = ("calls", "counts", "dirty", "ids", "legs", "tallies")

    def __init__(
        self,
        counts: int = 0,
        ids: bytes = b"",
        calls: Sequence[int] = (),
        legs: Sequence[int] = (),
        tallies: Sequence[int] = (),
    ) -> None:
        self.counts = counts
        self.ids = ids
        self.calls = [*calls]
        self.legs = [*legs]
        self.tallies = [*tallies]
        self.dirty = False

    def each_id(self) -> list[bytes]:
        """The ids one by one."""
        ids = self.ids
        return [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]

    def each_call(self, minute: int) -> list[tuple[int, int]]:
        """The calls of this minute's flows one by one: callers, and calls as `Callers` keeps them."""
        begin, calls = minute * MINUTE_MS << 1, iter(self.calls)
        return [(caller, begin + call) for caller, call in zip(calls, calls, strict=True)]

    @property
    def full(self) -> bool:
        """Whether the next flow of the minute needs another bucket."""
        return len(self.ids) >= LIMIT * ID_BYTES or len(self.legs) + len(self.tallies) >= NUMBERS_LIMIT

    def pack(self) -> bytes:
        """As bytes for the changelog: about 70, and 80 a flow."""
        ids, calls, tallies, legs = self.ids, self.calls, self.tallies, self.legs
        sizes = long(len(ids) // ID_BYTES) + long(len(calls) // 2) + long(len(tallies))
        rows = _rows(len(calls), len(tallies), len(legs)).pack(*calls, *tallies, *legs)
        return b"".join((_VERSION, _pack_counts(self.counts), sizes, ids, rows))

    @classmethod
    def unpack(cls, data: bytes) -> "Bucket":
        """From `pack`'s bytes. Raises ValueError where they are none of ours, or of a later version."""
        if data[:1] != _VERSION and data[:1] not in _OLDER:
            raise ValueError(f"bucket version {data[0]}; this program reads {VERSION}" if data else "an empty bucket")
        try:
            return _unpack(data) if data[:1] == _VERSION else _unpack_older(data)
        except (IndexError, ValueError, error):
            raise ValueError("a bucket cut short, or none") from None


def _unpack(data: bytes) -> Bucket:
    counts, at = _unpack_counts(data)
    sizes = []
    for _ in range(3):
        size, at = varint(data, at)
        sizes.append(size >> 1)
    of_ids = at + sizes[0] * ID_BYTES
    end = of_ids + sizes[1] * _PAIR_BYTES + sizes[2] * 2
    if end > len(data) or (len(data) - end) % _PAIR_BYTES:
        raise ValueError("a bucket cut short")
    rows = _rows(2 * sizes[1], sizes[2], (len(data) - end) // 8).unpack_from(data, of_ids)
    of_tallies, of_legs = 2 * sizes[1], 2 * sizes[1] + sizes[2]
    return Bucket(counts, data[at:of_ids], rows[:of_tallies], rows[of_legs:], rows[of_tallies:of_legs])


def _unpack_older(data: bytes) -> Bucket:
    values, at = _read_older(data, 1)
    counts, bins = joined((*values, *[0] * (len(COUNTS) - len(_OLDER_COUNTS)))), list[int]()
    if data[:1] == b"\2":
        bins, at = _older_bins(data, at)
    if (len(data) - at) % ID_BYTES:
        raise ValueError("a bucket whose ids are cut short")
    return Bucket(counts, data[at:], tallies=bins)
