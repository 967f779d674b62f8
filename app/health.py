"""The management port: alive, ready, metrics; never on the webhook's port.

Ready means that a delivery would be stored durably: in Kafka, or in the spool while Kafka is away. What is wrong is
said even where the receiver is ready, because a missing topic or a wrong password does not mend itself.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from starlette.types import Receive, Scope, Send

from app.metrics import Metrics
from app.outcomes import SpoolStatus
from app.problems import Problem, problem_reply
from app.reply import JSON, Reply, reply

#: Who asks for /metrics gives up after 1.5 s (the live page) or 10 s (Prometheus, which then says that we are down); a
#: spool of 1.5 million deliveries takes 45 s to read on a busy machine.
SPOOL_SECONDS: Final = 1.0


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
    _reading: "asyncio.Future[SpoolStatus] | None" = None
    _known: SpoolStatus | None = None

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
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
        body = await asyncio.to_thread(self._exposition, await self._spool())
        return reply(200, b"text/plain; version=0.0.4; charset=utf-8", body)

    async def _spool(self) -> SpoolStatus | None:
        """What waits in the spool; as it was when last read where that takes long, and None where it is not known.

        It is read by one thread at a time, for all who ask meanwhile.
        """
        reading = self._reading = self._reading or asyncio.ensure_future(asyncio.to_thread(self.spool_status))
        await asyncio.wait({reading}, timeout=SPOOL_SECONDS)
        if reading.done():
            if self._reading is reading:
                self._reading = None
            self._known = None if isinstance(reading.exception(), OSError) else reading.result()
        return self._known

    def _exposition(self, status: SpoolStatus | None) -> bytes:
        spool: dict[str, float] = {
            "phonon_spool_writable": not self.readiness().spool,
            "phonon_spool_limit_bytes": self.spool_limit_bytes,
        }
        if status is not None:  # a disk that can't be read has no figures
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
