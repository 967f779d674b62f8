"""The one line that a delivery leaves in the log: flow_id, status, counts, milliseconds.

A flow_id is the provider's own id and is logged as sent when it is a UUID. Anything else under that name may be a
number or a text, so its digest stands for it.
"""

import hashlib
import logging
import re
from typing import Any, Final

from app.pipeline import Made

log = logging.getLogger("app.delivery")
UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", re.ASCII)


def log_delivery(status: int, flow_id: str, made: Made | None, seconds: float) -> None:
    """Log a delivery that was answered."""
    if not log.isEnabledFor(logging.INFO):
        return
    fields: dict[str, Any] = {"status": status, "ms": round(seconds * 1000, 1)}
    if made is not None:
        flow_id = made.split.flow_id
        fields |= {"events": len(made.split.events), "rejected": len(made.split.rejected)}
    if flow_id:
        fields = {"flow_id": shown(flow_id), **fields}
    log.info("delivery", extra={"fields": fields})


def shown(flow_id: str) -> str:
    """A flow_id as it may stand in a log."""
    if UUID.fullmatch(flow_id):
        return flow_id
    return "#" + hashlib.blake2b(flow_id.encode("utf-8", "replace"), digest_size=8).hexdigest()
