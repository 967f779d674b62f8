"""The management port: alive, ready (or why not), figures. Never on the webhook's port."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams import measures


def application(trouble: Callable[[], str | None], measure: Callable[[], None]) -> web.Application:
    """The three addresses. `trouble` says why the worker is not ready, `measure` brings gauges up to date."""

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def ready(_: web.Request) -> web.Response:
        reason = trouble()
        if reason is None:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "not ready", "reason": reason}, status=503)

    async def figures(_: web.Request) -> web.Response:
        measure()
        measures.READY.set(trouble() is None)
        return web.Response(body=generate_latest(measures.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", alive), web.get("/readyz", ready), web.get("/metrics", figures)])
    return app


async def serve(app: web.Application, *, host: str, port: int) -> web.AppRunner:
    """Listen; `cleanup()` ends it. Raises OSError where the address is taken."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
