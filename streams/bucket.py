"""A bucket: what one DID's minute holds, the counts and the 16-byte ids of the flows that made them. Pure.

The ids travel with the counts, in one changelog record: whoever reads the counts knows which flows are in them, and a
replay from any offset adds nothing twice. Buckets form a monoid under `merge`.
A bucket takes LIMIT flows; a busier minute has several, so that a changelog record stays under 10 KB and adding a flow
never rewrites more than that. Packed: version byte, a bitmap of the counts that are not 0,
those as zigzag varints, ids.
"""

import struct
from typing import Final

from streams.metrics import COUNTS, joined, lanes

ID_BYTES: Final = 16
LIMIT: Final = 512  # flows in a bucket
VERSION: Final = 1
_HEAD: Final = struct.Struct("<BI")


class Bucket:
    """Counts as one integer (see metrics), and ids one after the other."""

    __slots__ = ("counts", "ids")

    def __init__(self, counts: int = 0, ids: bytes = b"") -> None:
        self.counts = counts
        self.ids = ids

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
        """As bytes for the changelog; about 50 and 16 a flow."""
        values = lanes(self.counts)
        present = sum(1 << n for n, value in enumerate(values) if value)
        return _HEAD.pack(VERSION, present) + b"".join([_varint(value) for value in values if value]) + self.ids

    @classmethod
    def unpack(cls, data: bytes) -> "Bucket":
        """From `pack`'s bytes. Raises ValueError where they are none of ours, or of a later version."""
        try:
            version, present = _HEAD.unpack_from(data)
            if version != VERSION:
                raise ValueError(f"bucket version {version}; this program reads {VERSION}")
            values, at = _read(data, present)
        except (IndexError, struct.error):
            raise ValueError("a bucket cut short") from None
        if (len(data) - at) % ID_BYTES:
            raise ValueError("a bucket whose ids are cut short")
        return cls(joined(values), data[at:])


def _read(data: bytes, present: int) -> tuple[tuple[int, ...], int]:
    """The counts, and where the ids begin."""
    values, at = [], _HEAD.size
    for n in range(len(COUNTS)):
        value = shift = 0
        while present >> n & 1:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        values.append(value >> 1 ^ -(value & 1))
    return tuple(values), at


def _zigzag(n: int) -> bytes:
    n = (n << 1) ^ (n >> 63)
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


_SMALL: Final = tuple(_zigzag(n) for n in range(1024))


def _varint(n: int) -> bytes:
    return _SMALL[n] if 0 <= n < 1024 else _zigzag(n)
