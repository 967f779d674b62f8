"""notify's composition root: settings -> source -> addresses, and the management port; until SIGTERM.

Stopping: nothing is begun any more, what is under way has GRACE_SECONDS, then what is settled is committed.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from socket import socket
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app import log
from app.cluster import Errors
from app.credentials import signing_keys
from app.listen import listen
from app.notify import measures
from app.notify.address import Address, session
from app.notify.progress import Arrived
from app.notify.source import Source, make_consumer
from schemas.registry import Registry
from schemas.settings import Settings, SettingsError

GRACE_SECONDS: Final = 0.8
LOOK_SECONDS: Final = 0.2


def notify(settings: Settings) -> int:
    """Send alerts until told to stop; the exit code. Raises SettingsError or CantListen."""
    if not settings.alert_webhook_url:
        raise SettingsError("PHONON_ALERT_WEBHOOK_URL is not set: there is nowhere to send alerts to")
    keys = signing_keys("PHONON_ALERT_WEBHOOK_SECRET", settings.alert_webhook_secret)
    make_consumer(settings, Errors("")).close()  # refuses properties that it does not know
    listener = listen(settings.management_host, settings.management_port)
    log.configure(settings.log_level, settings.log_format)
    asyncio.run(Notifier(settings, keys).run(listener))
    return 0


def names(urls: Sequence[str]) -> list[str]:
    """What each address is called in logs and metrics: its host, numbered where several have the same."""
    hosts = [urlsplit(url).hostname or "" for url in urls]
    seen = Counter[str]()
    found = []
    for host in hosts:
        seen[host] += 1
        found.append(host if hosts.count(host) == 1 else f"{host}#{seen[host]}")
    return found


class Notifier:
    """One process: its parts, and the order in which they start and stop."""

    def __init__(self, settings: Settings, keys: Sequence[bytes]) -> None:
        self.settings, self.keys = settings, keys
        registry = Registry(settings.schema_registry_url) if settings.schema_registry_url else None
        self.source = Source(
            settings,
            registry,
            begin=lambda: self._in_loop(self.begin),
            deliver=lambda arrived: self._in_loop(partial(self.deliver, arrived)),
        )

    async def run(self, listener: socket) -> None:
        """Work until SIGTERM or SIGINT."""
        self._loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, stop.set)
        self.addresses = [
            Address(url, name, self.keys, partial(self.source.settle, address=n))
            for n, (url, name) in enumerate(
                zip(self.settings.alert_webhook_url, names(self.settings.alert_webhook_url), strict=True)
            )
        ]
        runner = web.AppRunner(self.management(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        self.source.start()
        try:
            await self._send(stop)
        finally:
            await asyncio.to_thread(self.source.stop)
            await runner.cleanup()

    async def _send(self, stop: asyncio.Event) -> None:
        """Send until told to stop. Raises what ended one of the parts."""
        async with session() as http:
            running = [asyncio.create_task(address.run(http)) for address in self.addresses]
            while not stop.is_set() and not self.source.failure and not any(task.done() for task in running):
                try:
                    await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
                except TimeoutError:
                    pass
            for address in self.addresses:
                address.stop()
            _, late = await asyncio.wait(running, timeout=GRACE_SECONDS)
            for task in late:
                task.cancel()
            ended = await asyncio.gather(*running, return_exceptions=True)
        for failure in (self.source.failure, *ended):
            if isinstance(failure, Exception):
                raise failure

    def begin(self) -> None:
        """What was delivered before is void."""
        for address in self.addresses:
            address.begin()

    def deliver(self, arrived: Sequence[Arrived]) -> None:
        """Hand each message to the addresses that need it."""
        for one in arrived:
            for address in one.wanted:
                self.addresses[address].add(one)

    def _in_loop(self, call: Callable[[], None]) -> None:
        """Do what the source's thread asks for; once the loop has ended there is nothing more to do."""
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            pass

    def management(self) -> web.Application:
        """The management port: alive, ready or why not, figures."""

        async def alive(_: web.Request) -> web.Response:
            return web.json_response({"alive": True})

        async def ready(_: web.Request) -> web.Response:
            trouble = self.source.trouble
            return web.json_response({"ready": not trouble, "kafka": trouble or "ok"}, status=503 if trouble else 200)

        async def figures(_: web.Request) -> web.Response:
            self.measure()
            return web.Response(body=generate_latest(measures.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

        app = web.Application()
        app.add_routes([web.get("/healthz", alive), web.get("/readyz", ready), web.get("/metrics", figures)])
        return app

    def measure(self) -> None:
        """Bring the gauges up to date."""
        measures.READY.set(not self.source.trouble)
        for address in self.addresses:
            oldest = address.lane.oldest()
            age = 0.0 if oldest is None else max(0.0, time.time() - oldest / 1000)
            measures.WAITING.labels(address.name).set(address.lane.waiting)
            measures.OLDEST.labels(address.name).set(age)
