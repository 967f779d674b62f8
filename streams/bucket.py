"""A bucket: what one DID's minute holds, the counts and the 16-byte ids of the flows that made them. Pure.

The ids travel with the counts, in one changelog record: whoever reads the counts knows which flows are in them, and a
replay from any offset adds nothing twice. Buckets form a monoid under `merge`.
A bucket takes LIMIT flows; a busier minute has several, so that a changelog record stays under 10 KB and adding a flow
never rewrites more than that. Packed: a version byte, the counts as Avro longs in the order of COUNTS, the ids.
"""

from typing import Final

from schemas.encoding import long
from streams.decoding import compile_reader
from streams.metrics import COUNTS, joined, lanes

ID_BYTES: Final = 16
LIMIT: Final = 512  # flows in a bucket
VERSION: Final = 1
_VERSION: Final = bytes([VERSION])
_COUNTS: Final = {"type": "record", "name": "Counts", "fields": [{"name": name, "type": "long"} for name in COUNTS]}
_read: Final = compile_reader(_COUNTS, dict.fromkeys(COUNTS))


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
        """As bytes for the changelog; about 45 and 16 a flow."""
        return b"".join([_VERSION, *map(long, lanes(self.counts)), self.ids])

    @classmethod
    def unpack(cls, data: bytes) -> "Bucket":
        """From `pack`'s bytes. Raises ValueError where they are none of ours, or of a later version."""
        try:
            if data[0] != VERSION:
                raise ValueError(f"bucket version {data[0]}; this program reads {VERSION}")
            values, at = _read(data, 1)
        except IndexError:
            raise ValueError("a bucket cut short") from None
        if (len(data) - at) % ID_BYTES:
            raise ValueError("a bucket whose ids are cut short")
        return cls(joined(values.values()), data[at:])
