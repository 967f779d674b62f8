"""The metrics of a DID as a record: value and CloudEvents headers. Pure."""

from datetime import UTC, datetime
from typing import Any, Final

from schemas import encode
from schemas.settings import Window
from streams.metrics import window_metrics
from streams.table import Live
from streams.windows import MINUTE_MS

Headers = list[tuple[str, bytes]]

_TYPE: Final = b"phonon.did-metrics.v1"
_SOURCE: Final = b"/phonon/metrics"


def value(live: Live, windows: tuple[Window, ...]) -> bytes:
    """The framed DidMetrics record."""
    return encode("DidMetrics", as_dict(live, windows))


def as_dict(live: Live, windows: tuple[Window, ...]) -> dict[str, Any]:
    """The DidMetrics record as a dict."""
    end = (live.as_of // MINUTE_MS + 1) * MINUTE_MS
    spans = zip(windows, live.sums, strict=True)
    rolled = [window_metrics(window.name, window.seconds, end, total) for window, total in spans]
    return {"did": live.did, "as_of": live.as_of, "windows": rolled}


def headers(live: Live) -> Headers:
    """CloudEvents, binary mode. A record is identified by DID and as_of."""
    seconds, ms = divmod(live.as_of, 1000)
    time = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{live.did}@{live.as_of}".encode()),
        ("ce_type", _TYPE),
        ("ce_source", _SOURCE),
        ("ce_time", f"{time}.{ms:03d}Z".encode()),
        ("content-type", b"application/avro"),
    ]
