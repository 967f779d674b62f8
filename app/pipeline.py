"""bytes -> records: the pure middle of the receiver in one call, for a delivery that just came and for a spooled one.

With the same received_at both become the same records with the same ids.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from app.delivery import NotADelivery, TooManyRows, read_document
from app.json_text import NotJson
from app.privacy import Privacy, redact
from app.raw import Raw
from app.records import Record, Records
from app.segment import Row
from app.split import Rules, Split, flow_id_of, split
from app.telephony import REGIONS
from schemas import HEADERS
from schemas.settings import Settings, SettingsError

#: What a sender can mend, and the status that says so.
UNREADABLE: Final[Mapping[type[Exception], int]] = MappingProxyType({NotJson: 400, NotADelivery: 422, TooManyRows: 413})
#: More commas than any ordinary delivery has.
LARGE_COMMAS: Final = 3_000
#: One text, or numbers of thousands of digits, take up to 0.15 ms for 1,000 bytes.
LARGE_BYTES: Final = 256 * 1024
#: Masking may take 0.6 ms for 1,000 bytes, where every third is an address; ordinary deliveries have 2,000 to 5,000.
LARGE_MASKED_BYTES: Final = 16_000


class Made(Struct, frozen=True):
    """A delivery's records, and what there is to say about them."""

    split: Split
    records: list[Record]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """read, split, redact and encode, by one set of rules; with `raw` the body itself is a record too."""

    rules: Rules
    privacy: Privacy
    encode: Records
    raw: Raw | None = None

    def __call__(self, row: Row) -> Made:
        """The records of a body as it was received. Raises the exceptions of UNREADABLE."""
        parts = redact(split(read_document(row.body), received_at=row.received_at, rules=self.rules), self.privacy)
        records = self.encode(parts, row.traceparent.encode() or None)
        if self.raw and records:  # none: nobody knows yet how to frame them
            records.insert(0, self.raw(row, records, flow_id=parts.flow_id))
        return Made(parts, records)

    def is_large(self, body: bytes) -> bool:
        """Whether making its records would hold up all others for more than some ten milliseconds."""
        if len(body) > (LARGE_MASKED_BYTES if self.privacy.pseudonymise else LARGE_BYTES):
            return True
        return len(body) > LARGE_COMMAS and body.count(b",") > LARGE_COMMAS

    @staticmethod
    def flow_id(body: bytes) -> str:
        """The flow_id of a body that is only spooled now; it must not be large. Raises what a call would."""
        return flow_id_of(read_document(body))  # a body that is not large never has too many rows


def make_pipeline(settings: Settings) -> Pipeline:
    """The pipeline that the settings ask for. Raises SettingsError for a region that has no telephone numbers."""
    if settings.region not in REGIONS:
        raise SettingsError(
            f"PHONON_REGION is {settings.region!r}: expected a region with telephone numbers, such as IN"
        )
    key = settings.pseudonym_key
    return Pipeline(
        rules=Rules(zone=settings.timezone, region=settings.region),
        privacy=Privacy(
            drop_content=settings.content == "drop",
            pseudonymise=settings.numbers == "pseudonymise",
            key=key.encode() if key else None,
        ),
        encode=Records(settings.topic_prefix, {} if settings.schema_registry_url else HEADERS),
        raw=Raw(settings.topic_prefix) if settings.raw_topic else None,
    )
