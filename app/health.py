"""The management port: alive, ready, metrics; never on the webhook's port.

Ready means that a delivery would be stored durably: in Kafka, or in the spool while Kafka is away. What is wrong is
said even where the receiver is ready, because a missing topic or a wrong password does not mend itself.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.body import Receive
from app.metrics import Metrics
from app.outcomes import SpoolStatus
from app.problems import Problem, problem_reply
from app.reply import JSON, Reply, reply


class Readiness(NamedTuple):
    """Whether deliveries will be stored durably, and what is wrong with either place ("" where nothing is)."""

    kafka: str
    spool: str
    stopping: bool = False

    @property
    def ready(self) -> bool:
        """Whether to send deliveries here."""
        return not self.stopping and not (self.kafka and self.spool)


def readiness_reply(readiness: Readiness) -> Reply:
    """200 or 503, with the reasons."""
    reasons = {"kafka": readiness.kafka or "ok", "spool": readiness.spool or "ok"}
    reasons |= {"receiver": "stopping"} if readiness.stopping else {}
    return _json(200 if readiness.ready else 503, {"ready": readiness.ready, **reasons})


@dataclass(slots=True, kw_only=True)
class Management:
    """The ASGI app of the management port."""

    readiness: Callable[[], Readiness]
    spool_status: Callable[[], SpoolStatus]
    metrics: Metrics
    spool_limit_bytes: int

    async def __call__(self, scope: Any, _receive: Receive, send: Callable[[Any], Awaitable[None]]) -> None:
        """Answer one request."""
        answer = await self._reply(scope["path"], scope["method"])
        if scope["method"] == "HEAD":
            answer = answer._replace(body=b"")
        for message in answer.messages():
            await send(message)

    async def _reply(self, path: str, method: str) -> Reply:
        if path not in ("/healthz", "/readyz", "/metrics"):
            return problem_reply(Problem(404, "here are /healthz, /readyz and /metrics"))
        if method not in ("GET", "HEAD"):
            return problem_reply(Problem(405, "only GET"), allow="GET, HEAD")
        if path == "/healthz":
            return _json(200, {"alive": True})
        if path == "/readyz":
            return readiness_reply(self.readiness())
        self.metrics.bring_over()
        body = await asyncio.to_thread(self._exposition)
        return reply(200, b"text/plain; version=0.0.4; charset=utf-8", body)

    def _exposition(self) -> bytes:
        spool: dict[str, float] = {
            "phonon_spool_writable": not self.readiness().spool,
            "phonon_spool_limit_bytes": self.spool_limit_bytes,
        }
        with suppress(OSError):  # a disk that can't be read has no figures
            status = self.spool_status()
            spool |= {
                "phonon_spool_rows": status.rows,
                "phonon_spool_bytes": status.bytes,
                "phonon_spool_oldest_age_seconds": status.oldest_age_seconds,
                "phonon_spool_set_aside": status.damaged,
                "phonon_spool_disk_bytes": status.disk_bytes,
            }
        return self.metrics.exposition({name: float(value) for name, value in spool.items()})


def _json(status: int, content: dict[str, Any]) -> Reply:
    return reply(status, JSON, json.dumps(content).encode())
