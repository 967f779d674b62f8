"""The receiver's composition root: settings -> publisher, spool, drainer -> webhook and management port.

Importing this module has no effect: `app` is made when it is asked for, and opens nothing before its lifespan starts.
"""

import asyncio
import dataclasses
import gc
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from os import environ, getpid
from socket import socket
from typing import Any, Final

from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from app import log
from app.credentials import read_credentials, refuse_open_door
from app.drain import Drainer
from app.health import Management, Readiness
from app.listen import GentleServer, TruePeer, listen, serve_management, server_config
from app.metrics import Metrics
from app.openapi import openapi
from app.outcomes import SpoolFailed
from app.outlet import Outlet, SparingStatus, status
from app.pipeline import Pipeline, make_pipeline
from app.problems import Problem, problem_reply
from app.producer import open_producers, producer_config
from app.publish import Publisher, needed_topics
from app.records import NAMES, Records
from app.refused import RefusedBodies
from app.reply import JSON, reply
from app.spool import Spool, prepare
from app.urls import url_of
from app.webhook import Limits, Webhook
from app.workers import follow_parent, keep_workers
from schemas.env_file import read_env_file
from schemas.registry import Headers, Registry
from schemas.settings import Settings, SettingsError, read_settings
from schemas.topics import record_limit_bytes

OBSERVE_SECONDS: Final = 1.0
GARBAGE_THRESHOLD: Final = 50_000  # deliveries make no cycles: looking for them every 700 objects costs 4 %


def check(settings: Settings) -> None:
    """Raises SettingsError for what would only fail later: an open door, a region, a producer or a spool."""
    refuse_open_door(read_credentials(settings), settings.host)
    check_producer(settings)
    make_pipeline(settings)
    try:
        prepare(settings.spool_dir)
    except OSError as error:
        raise SettingsError(f"PHONON_SPOOL_DIR is {str(settings.spool_dir)!r}: {error.strerror}") from None


def check_producer(settings: Settings) -> None:
    """Raises SettingsError for a KAFKA_ setting that the receiver's producer refuses; asks no broker."""
    open_producers(producer_config(settings), 1, {})


def make_publisher(settings: Settings, pipeline: Pipeline) -> Publisher:
    """The publisher of what a pipeline makes. It sends nothing before it is started."""
    return Publisher(
        partial(open_producers, producer_config(settings), settings.producers),
        topics=needed_topics(settings.topic_prefix, raw=pipeline.raw is not None),
        stall_after=min(settings.stall_after, settings.answer_within / 4),
        most_bytes=record_limit_bytes(settings.max_body_bytes),
        before=registration(settings, pipeline.encode),
    )


def registration(settings: Settings, records: Records) -> Callable[[], str]:
    """What must be done before the first record is published: where there is a registry, it learns the schemas."""
    if settings.schema_registry_url is None:
        return lambda: ""
    headers = Headers(Registry(settings.schema_registry_url), settings, NAMES)

    def register() -> str:
        problem = headers()
        if not problem and not records.framed:
            records.frame(headers.found)
        return problem

    return register


class Receiver:
    """One process of the receiver: its parts, and the order in which they start and stop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.spool = Spool(settings.spool_dir, most_bytes=settings.spool_max_bytes)
        self.pipeline = make_pipeline(settings)
        self.publisher = make_publisher(settings, self.pipeline)
        self.refused = RefusedBodies(
            settings.spool_dir,
            spool_bytes=settings.spool_max_bytes if (settings.content, settings.numbers) == ("keep", "keep") else 0,
            kept=partial(self.metrics.count, "phonon_refused_kept_total"),
        )
        self.webhook = Webhook(
            limits=Limits(
                body_bytes=settings.max_body_bytes,
                answer_seconds=settings.answer_within,
                in_flight=settings.max_in_flight,
            ),
            credentials=read_credentials(settings),
            pipeline=self.pipeline,
            publisher=self.publisher,
            spool=self.spool,
            metrics=self.metrics,
            keep_refused=self.refused.keep,
        )
        self.drainer = Drainer(
            outlet=Outlet(settings.spool_dir),
            pipeline=self.pipeline,
            publisher=self.publisher,
            metrics=self.metrics,
            rate=settings.drain_rate,
        )
        self.router = Router(self._routes(), default=_not_found, redirect_slashes=False, lifespan=self.lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI app. What is for the webhook goes straight there: the router costs more than a signature."""
        at_once = scope["type"] == "http" and scope["path"] == self.settings.webhook_path
        await (self.webhook if at_once else self.router)(scope, receive, send)

    def _routes(self) -> list[Route]:
        path = self.settings.webhook_path
        routes = [Route(path, self.webhook), Route("/openapi.json", _Document(openapi(self.settings)))]
        return [*routes, Route(path + "/{token}", self.webhook)] if self.settings.token else routes

    def stop(self) -> None:
        """Say that this is about to stop: not ready any more, though deliveries are still taken."""
        self.webhook.stopping = True

    def readiness(self) -> Readiness:
        """Whether a delivery would be stored durably now."""
        kafka = "" if self.publisher.healthy else self.publisher.reason or "being tried"
        return Readiness(kafka, self.spool.refusal, self.webhook.stopping)

    @asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[None]:
        """Start the parts, each after what it needs; stop them the other way round."""
        async with AsyncExitStack() as stack:
            self.spool.start()
            stack.push_async_callback(asyncio.to_thread, self.spool.stop)
            stack.push_async_callback(asyncio.to_thread, self.refused.stop)
            await self.publisher.start()
            stack.push_async_callback(self.publisher.stop)
            management = Management(
                readiness=self.readiness,
                spool_status=SparingStatus(self.settings.spool_dir),
                metrics=self.metrics,
                spool_limit_bytes=self.settings.spool_max_bytes,
            )
            for work in (
                serve_management(management, self.settings),
                self.drainer.run(),
                self.refused.run(),
                self._observe(),
            ):
                stack.push_async_callback(_ended, asyncio.create_task(work))
            gc.collect()
            gc.freeze()
            gc.set_threshold(GARBAGE_THRESHOLD)
            yield
            self.stop()

    async def _observe(self) -> None:
        """Bring the metrics up to date, every second."""
        while True:
            self.metrics.bring_over()
            self.metrics.set("phonon_in_flight", self.webhook.in_flight)
            self.metrics.set("phonon_ready", self.readiness().ready)
            self.metrics.set("phonon_kafka_healthy", self.publisher.healthy)
            messages, size, brokers = self.publisher.statistics
            self.metrics.set("phonon_kafka_queue_messages", messages)
            self.metrics.set("phonon_kafka_queue_bytes", size)
            self.metrics.set("phonon_kafka_brokers_up", brokers)
            await asyncio.sleep(OBSERVE_SECONDS)


class _Document:
    """Serves one document."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.reply = reply(200, JSON, json.dumps(content).encode())

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = self.reply
        if scope["method"] not in ("GET", "HEAD"):
            answer = problem_reply(Problem(405, "only GET"), allow="GET, HEAD")
        for message in answer.messages():
            await send(message)


async def _not_found(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer what has no route."""
    if scope["type"] == "http":
        for message in problem_reply(Problem(404, "there is nothing here")).messages():
            await send(message)


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


def serve(settings: Settings, workers: int) -> int:
    """Serve until told to stop; the exit code. Raises SettingsError or CantListen."""
    if settings.management_port == settings.port != 0:  # whoever opens it second would fail without a word
        raise SettingsError(f"PHONON_MANAGEMENT_PORT and PHONON_PORT are both {settings.port}: give each its own")
    check(settings)
    listener = listen(settings.host, settings.port)
    plain = dataclasses.replace(settings, kafka=dict(settings.kafka))  # a mapping proxy can't be sent to a process
    if workers > 1:
        return keep_workers(_work, (plain, listener), workers, on_stop=listener.close)
    return work(plain, listener)


def work(settings: Settings, listener: socket) -> int:
    """One worker, in this process."""
    log.configure(settings.log_level, settings.log_format)
    address = url_of(settings.host, listener.getsockname()[1], settings.webhook_path)
    logging.getLogger(__name__).info("listening", extra={"fields": {"at": address, "pid": getpid()}})
    receiver = Receiver(settings)
    server = GentleServer(server_config(receiver), receiver.stop)
    follow_parent(lambda: server.handle_exit(signal.SIGTERM, None))
    server.run(sockets=[listener])
    return 0 if server.started else 1


def _work(settings: Settings, listener: socket) -> None:
    raise SystemExit(work(settings, listener))


def drain(settings: Settings, progress: Callable[[int, int], None]) -> int:
    """Publish all that waits in the spool; the number of deliveries published. For `phonon-events spool drain`.

    `progress` is told how many are published, and how many waited at the start. Raises SpoolFailed where another
    process drains this spool, or where Kafka does not take what waits.
    """
    logging.getLogger().addHandler(logging.NullHandler())  # what is to be said is raised: one line, not two
    return asyncio.run(_drain(settings, progress))


async def _drain(settings: Settings, progress: Callable[[int, int], None]) -> int:
    outlet, pipeline = Outlet(settings.spool_dir), make_pipeline(settings)
    done, total = 0, status(settings.spool_dir).rows

    def published(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, total)

    publisher = make_publisher(settings, pipeline)
    drainer = Drainer(
        outlet=outlet,
        pipeline=pipeline,
        publisher=publisher,
        metrics=Metrics(),
        rate=settings.drain_rate,
        progress=published,
    )
    if not outlet.acquire():
        raise SpoolFailed("another process drains this spool: a receiver that runs does it by itself")
    await publisher.start()
    try:
        while status(settings.spool_dir).rows:
            if not await drainer.drain_once() and not publisher.healthy:
                raise SpoolFailed(f"Kafka does not take what waits: {publisher.reason}")
        await asyncio.to_thread(outlet.sweep)
    finally:
        await publisher.stop()
        outlet.release()
    return done


def __getattr__(name: str) -> Any:
    """`uvicorn app.main:app`: the app by the environment's settings; a bad one ends the start with one line."""
    if name != "app":
        raise AttributeError(name)
    try:
        settings = read_settings(environ, read_env_file())
        check(settings)
        log.configure(settings.log_level, settings.log_format)
        made = globals()["app"] = TruePeer(Receiver(settings))
    except SettingsError as error:
        sys.stderr.write(f"phonon-events: {error}\n")
        raise SystemExit(2) from None
    return made
