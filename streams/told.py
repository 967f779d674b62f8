"""An alert as a record: value and CloudEvents headers. Pure."""

from typing import Any, Final
from uuid import UUID, uuid5

from schemas import encode
from streams.alerts import Alert
from streams.bucket import MINUTE_MS
from streams.headers import Headers, cloud_event

NAMESPACE: Final = UUID("0d1f5a3e-58c7-5b0a-9a0c-6f3f3f0d2c11")  # of all alerts' ids: another one changes every id


def as_dict(alert: Alert, *, of_group: bool = False) -> dict[str, Any]:
    """The DidAlert record as a dict."""
    return {
        "alert_id": _id(alert),
        "rule": alert.rule,
        "did": None if of_group else alert.did,
        "group": alert.did if of_group else None,
        "metric": alert.episode.metric,
        "window": alert.episode.window,
        "value": alert.seen.value,
        "n": alert.seen.n,
        "threshold": alert.seen.threshold,
        "state": alert.state,
        "since": alert.episode.minute * MINUTE_MS,
        "as_of": alert.as_of * MINUTE_MS,
    }


def value(alert: Alert, header: bytes | None = None, *, of_group: bool = False) -> bytes:
    """The framed DidAlert record; `header` is a registry's in place of the single-object one."""
    return encode("DidAlert", as_dict(alert, of_group=of_group), prefix=header)


def headers(alert: Alert) -> Headers:
    """The record's headers; the two of an episode differ by their state."""
    return cloud_event("DidAlert", f"{_id(alert)}:{alert.state}", alert.as_of * MINUTE_MS)


def _id(alert: Alert) -> str:
    return str(uuid5(NAMESPACE, f"{alert.rule}\n{alert.did}\n{alert.episode.minute}"))
