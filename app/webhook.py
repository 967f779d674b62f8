"""POST /webhooks/phonon: bytes in, one status out; every status is a row of the table in the README.

200 after every acknowledgement, 202 after an fsync, anything else is a `Problem` from where it was found. An error of
our own never costs a delivery: its raw body is spooled, and set aside if it can't be published later either.
A plain ASGI endpoint: Request and Response objects cost as much as reading the body.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from app.body import Budget, Gone, inflate, read_body
from app.credentials import Credentials, verify_sender, verify_signature
from app.deadline import Deadline
from app.log_line import log_delivery
from app.metrics import Metrics
from app.outcomes import Full, Keeps, Publishes, SpoolFailed, State, Unacknowledged, Unpublishable
from app.pipeline import UNREADABLE, Made, Pipeline
from app.problems import Problem, problem_reply
from app.reply import JSON, Reply, reply
from app.segment import Row

log = logging.getLogger(__name__)

TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
LARGE_WAITING: Final = 8
BODIES_BYTES: Final = 64 * 1024 * 1024
#: Shares of the answer time: until the body is read, and until Kafka has acknowledged; the rest is the spool's.
READ_SHARE: Final = 0.5
PUBLISH_SHARE: Final = 0.8
#: Who comes to publish before this share is over needs no timer: the publisher gives up after two more such shares.
SLOW_SHARE: Final = 0.25
MARGIN_SECONDS: Final = 0.1

#: What ends a delivery without an answer of its own: error -> status and detail.
FAILURES: Final[Mapping[type[Exception], tuple[int, str]]] = MappingProxyType(
    {
        Full: (507, "Kafka is unavailable and the spool is full"),
        SpoolFailed: (503, "Kafka is unavailable and the spool can't be written"),
        TimeoutError: (503, "neither Kafka nor the spool answered in time"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of anything there may be at once."""

    body_bytes: int
    answer_seconds: float
    in_flight: int


class Delivery(msgspec.Struct):
    """One POST on its way through. `flow_id` is set where it is spooled without having been made into records."""

    scope: Scope
    began: float
    headers: dict[bytes, bytes]
    body: bytes = b""
    flow_id: str = ""
    made: Made | None = None


@dataclass(slots=True, kw_only=True)
class Webhook:
    """The endpoint."""

    limits: Limits
    credentials: Credentials
    pipeline: Pipeline
    publisher: Publishes
    spool: Keeps
    metrics: Metrics
    keep_refused: Callable[[bytes], None]
    now: Callable[[], float] = time.time
    stopping: bool = False
    in_flight: int = 0
    budget: Budget = field(init=False)
    _large: int = 0
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "large"))

    def __post_init__(self) -> None:
        self.budget = Budget(max(BODIES_BYTES, 4 * self.limits.body_bytes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        delivery = Delivery(scope, time.monotonic(), dict(scope["headers"]))
        try:
            answer = await self._answer(delivery, receive)
        except Gone:
            self.metrics.count("phonon_deliveries_total", "gone")
            return
        except Problem as problem:
            answer = problem_reply(problem, allow="POST" if problem.status == 405 else "")
        except Exception as error:  # noqa: BLE001 - the last resort: the sender must hear something, and retry
            answer = self._failed(error)
        seconds = time.monotonic() - delivery.began
        self.metrics.count("phonon_deliveries_total", str(answer.status))
        self.metrics.observe("phonon_answer_seconds", seconds)
        log_delivery(answer.status, delivery.flow_id, delivery.made, seconds)
        if self.stopping:
            answer.headers.append((b"connection", b"close"))
        for message in answer.messages():
            await send(message)

    async def _answer(self, delivery: Delivery, receive: Receive) -> Reply:
        """Straight down: verify, read, make, publish or keep."""
        raw = await self._received(delivery, receive)
        held = len(raw)
        self.in_flight += 1
        try:
            verify_signature(self.credentials, delivery.headers, raw, now=self.now())
            if self.in_flight > self.limits.in_flight:
                raise Problem(503, "too many deliveries at once")
            encoding = delivery.headers.get(b"content-encoding", b"")
            delivery.body = inflate(raw, encoding, limit=self.limits.body_bytes)
            if delivery.body is not raw:  # it may be a thousand times as large
                self.budget.take(len(delivery.body))
                held += len(delivery.body)
            return await self._stored(delivery)
        finally:
            self.in_flight -= 1
            self.budget.give(held)

    async def _received(self, delivery: Delivery, receive: Receive) -> bytes:
        """The raw body of somebody who may post, as far as the headers tell."""
        scope, headers = delivery.scope, delivery.headers
        if scope["method"] != "POST":
            raise Problem(405, "only POST")
        length = headers.get(b"content-length", b"0")
        unread = b"transfer-encoding" in headers or len(length) > len(b"99999")
        if self.in_flight >= self.limits.in_flight:
            raise Problem(503, "too many deliveries at once", closes=unread)
        client = scope.get("client")
        token = scope.get("path_params", {}).get("token")
        try:
            verify_sender(self.credentials, scope["headers"], peer=client[0] if client else "", path_token=token)
        except Problem as problem:
            problem.closes = unread
            raise
        limit, seconds = self.limits.body_bytes, self.limits.answer_seconds * READ_SHARE
        if b"expect" in headers and length.isdigit() and int(length) > limit:
            raise Problem(413, f"the body is larger than {limit} bytes", closes=True)
        return await read_body(receive, limit=limit, seconds=seconds, budget=self.budget)

    async def _stored(self, delivery: Delivery) -> Reply:
        """The delivery in Kafka (200), or else in the spool (202)."""
        traceparent = delivery.headers.get(b"traceparent", b"")
        trace = traceparent.decode() if TRACEPARENT.fullmatch(traceparent) else ""
        row = Row(int(self.now() * 1000), trace, delivery.body)
        try:
            await self._published(delivery, row)
        except (Unacknowledged, TimeoutError):
            pass
        except Problem:
            raise
        except Unpublishable as refused:
            self.metrics.count("phonon_failures_total", "unpublishable")
            log.error("Kafka refuses a record for good: %s", refused)  # noqa: TRY400 - a traceback of ours says nothing
        except Exception as error:  # noqa: BLE001 - a bug of ours must not cost the delivery: keep it
            self._note("pipeline", error)
        else:
            return _reply(200, delivery, "kafka")
        with Deadline(self._left(delivery, 1.0) - MARGIN_SECONDS):
            await self.spool.keep(row)
        self.metrics.count("phonon_spooled_total")
        return _reply(202, delivery, "spool")

    async def _published(self, delivery: Delivery, row: Row) -> None:
        """Returns when all events are acknowledged."""
        try:
            if self.pipeline.is_large(row.body):
                with Deadline(self._left(delivery, PUBLISH_SHARE)):
                    delivery.made = await self._made_aside(row)
                    await self._acknowledged(delivery.made)
                return
            if self.publisher.state is State.DOWN:
                delivery.flow_id = self.pipeline.flow_id(row.body)
                raise Unacknowledged("Kafka is down")
            delivery.made = self.pipeline(row)
            if time.monotonic() - delivery.began < self.limits.answer_seconds * SLOW_SHARE:
                await self._acknowledged(delivery.made)  # the publisher's own clock is enough, and costs no timer
                return
            with Deadline(self._left(delivery, PUBLISH_SHARE)):
                await self._acknowledged(delivery.made)
        except tuple(UNREADABLE) as error:
            self.keep_refused(row.body)
            raise Problem(UNREADABLE[type(error)], str(error)) from None

    async def _made_aside(self, row: Row) -> Made:
        """A large delivery's records, made on a thread; one at a time, and not many waiting."""
        if self._large >= LARGE_WAITING:
            raise Unacknowledged("too many large deliveries at once")
        self._large += 1
        try:
            return await asyncio.wrap_future(self._thread.submit(self.pipeline, row))
        finally:
            self._large -= 1

    async def _acknowledged(self, made: Made) -> None:
        began = time.monotonic()
        await self.publisher.publish(made.records)
        self.metrics.observe("phonon_acknowledge_seconds", time.monotonic() - began)
        self.metrics.published(made)

    def _left(self, delivery: Delivery, share: float) -> float:
        """Seconds until this share of the answer time is over."""
        return max(delivery.began + self.limits.answer_seconds * share - time.monotonic(), 0.0)

    def _failed(self, error: Exception) -> Reply:
        """The answer to what went wrong on our side; never a 500."""
        if type(error) not in FAILURES:
            self._note("webhook", error)
        return problem_reply(Problem(*FAILURES.get(type(error), (503, "the receiver failed; nothing was stored"))))

    def _note(self, where: str, error: Exception) -> None:
        self.metrics.count("phonon_failures_total", where)
        log.error("failed in %s", where, exc_info=(type(error), error, error.__traceback__))


def _reply(status: int, delivery: Delivery, stored: str) -> Reply:
    body: dict[str, Any] = {"flow_id": delivery.flow_id, "stored": stored}
    if delivery.made:
        split = delivery.made.split
        body |= {"flow_id": split.flow_id, "events": split.counts(), "rejected": len(split.rejected)}
    return reply(status, JSON, msgspec.json.encode(body))
