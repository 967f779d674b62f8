"""The page's composition root: settings -> source, scrape -> state -> streams -> routes behind the guard.

Importing this module has no effect; nothing is opened before the lifespan starts.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import FrameType
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app import log
from app.credentials import refuse_open_door
from app.dashboard import assets, messages
from app.dashboard.guard import Guard, address, page_credentials
from app.dashboard.rates import Receiver, summary
from app.dashboard.scrape import watch
from app.dashboard.source import Batch, Link, Source
from app.dashboard.state import SAMPLE_SECONDS, State
from app.dashboard.stream import Streams
from app.listen import GentleServer, listen, server_config
from app.urls import url_from_here
from schemas.registry import Registry
from schemas.settings import Settings

GRACEFUL_SECONDS: Final = 2


class Page:
    """One process of the page: its parts and its routes."""

    def __init__(self, settings: Settings, source: type[Source] = Source) -> None:
        self.settings = settings
        self.source = source(
            settings,
            Registry(settings.schema_registry_url) if settings.schema_registry_url else None,
            deliver=lambda batch: self._in_loop(partial(self.take, batch)),
            say=lambda link: self._in_loop(partial(setattr, self, "link", link)),
        )
        self.state = State(_now_ms())
        self.link = Link(since=_now_ms())
        self.urls = settings.receiver_metrics_url or (own_receiver(settings),)
        self.receivers = [Receiver() for _ in self.urls]
        self.streams = Streams(self.state, self.status)
        self._assets = assets.read_assets()
        routes = [
            Route("/", self.index),
            Route("/events", self.events),
            Route("/dids/{did:path}", self.one_did),
            Route("/static/{name}", self.asset),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/favicon.ico", self.favicon),
        ]
        self.app = Guard(Starlette(routes=routes, lifespan=self.lifespan), page_credentials(settings))

    @asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[None]:
        """Read the topic and the receivers for as long as the page is served."""
        self._loop = asyncio.get_running_loop()
        self.source.start()
        tasks = [asyncio.create_task(work) for work in (self._sample(), watch(self.urls, self.receivers))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await asyncio.to_thread(self.source.stop)

    def _in_loop(self, call: Callable[[], None]) -> None:
        """Do what the source's thread asks for; once the loop has ended there is nothing more to do."""
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            pass

    def take(self, batch: Batch) -> None:
        """Take what the source has read."""
        self.state.take(batch.records, batch.gone, batch.alerts)

    async def _sample(self) -> None:
        begun = time.monotonic()
        while True:
            await asyncio.sleep(begun + (self.state.samples + 1) * SAMPLE_SECONDS - time.monotonic())
            self.state.sample()

    def status(self) -> dict[str, Any]:
        """How things stand: the status event."""
        link = self.link
        return {
            "now": _now_ms(),
            "kafka": {"state": link.state, "reason": link.reason, "since": link.since},
            "registry": link.registry,
            "loaded": link.loaded,
            "unreadable": link.unreadable,
            "written_at": self.state.written_at or None,
            "as_of": self.state.as_of or None,
            "receivers": summary(self.receivers),
        }

    async def index(self, request: Request) -> Response:
        """The page itself."""
        return assets.reply(self._assets["index.html"], request)

    async def asset(self, request: Request) -> Response:
        """One of its files."""
        asset = self._assets.get(request.path_params["name"])
        return assets.reply(asset, request) if asset else Response(status_code=404)

    async def favicon(self, request: Request) -> Response:
        """For those that ask without having read the page."""
        return assets.reply(self._assets["favicon.svg"], request)

    async def events(self, request: Request) -> Response:
        """The stream of one open page."""
        if self.streams.full:
            return Response("too many pages are open", 503, {"retry-after": "5"}, "text/plain")
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        if request.method == "HEAD":  # a stream of which nothing is sent never notices that nobody is there any more
            return Response(media_type="text/event-stream", headers=headers)
        return StreamingResponse(self.streams.stream(), media_type="text/event-stream", headers=headers)

    async def one_did(self, request: Request) -> Response:
        """A DID's own view."""
        row = self.state.rows.get(request.path_params["did"])
        if row is None:
            return JSONResponse({"detail": "no figures of this DID"}, 404, {"cache-control": "no-store"})
        return Response(messages.one_did(self.state, row), 200, {"cache-control": "no-store"}, "application/json")

    async def healthz(self, _request: Request) -> Response:
        """Alive."""
        return JSONResponse({"alive": True})

    async def readyz(self, _request: Request) -> Response:
        """Whether what is shown is what the topic holds."""
        ready = self.link.loaded and self.link.state == "connected"
        return JSONResponse({"ready": ready, "kafka": self.link.state}, 200 if ready else 503)


class PageServer(GentleServer):
    """A server that ends its streams at the first signal: a page that is open connects again by itself."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop now."""
        super().handle_exit(sig, frame)
        self.should_exit = True


def own_receiver(settings: Settings) -> str:
    """The metrics of a receiver with the same settings, on this host."""
    return url_from_here(settings.management_host, settings.management_port, "/metrics")


def dashboard(settings: Settings) -> int:
    """Serve the page until told to stop; the exit code. Raises SettingsError or CantListen."""
    host = settings.dashboard_host
    refuse_open_door(
        page_credentials(settings),
        host,
        setting="PHONON_DASHBOARD_HOST",
        keys="PHONON_DASHBOARD_BASIC_AUTH, PHONON_BASIC_AUTH or PHONON_TOKEN",
    )
    listener = listen(host, settings.dashboard_port)
    log.configure(settings.log_level, settings.log_format)
    page = Page(settings)

    def stop() -> None:
        page.streams.stopping = True

    logging.getLogger(__name__).info(
        "listening", extra={"fields": {"at": address(settings, listener.getsockname()[1])}}
    )
    server = PageServer(server_config(page.app, graceful_seconds=GRACEFUL_SECONDS), stop)
    server.run(sockets=[listener])
    return 0 if server.started else 1


def _now_ms() -> int:
    return round(time.time() * 1000)
