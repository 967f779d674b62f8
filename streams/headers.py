"""The headers of all that the workers write: CloudEvents, binary mode. Pure."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from schemas.topics import BY_RECORD

Headers = list[tuple[str, bytes]]

_SOURCE: Final = b"/phonon/metrics"


def cloud_event(record: str, id_: str, at: int) -> Headers:
    """The headers of a record of this kind that happened `at`, ms; no two of a kind share an id."""
    return [("ce_id", id_.encode()), *_shared(record, at)]


@lru_cache(maxsize=64)
def _shared(record: str, at: int) -> Headers:
    """What all records of a kind and a moment have in common."""
    seconds, ms = divmod(at, 1000)
    time = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", f"phonon.{BY_RECORD[record].name}.v1".encode()),  # whatever PHONON_TOPIC_PREFIX
        ("ce_source", _SOURCE),
        ("ce_time", f"{time}.{ms:03d}Z".encode()),
        ("content-type", b"application/avro"),
    ]
