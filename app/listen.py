"""Listening: the webhook's server, which stops gently, and the management port, which one of the workers serves.

Stopping: readiness turns false first, the port is served on for LINGER_SECONDS so that balancers notice, then what is
in flight is answered. A second signal skips the wait.
"""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.utils import get_remote_addr

from app.protocol import TimedProtocol
from schemas.settings import Settings

log = logging.getLogger(__name__)

LINGER_SECONDS: Final = 2.0
#: Ctrl-C comes to a worker from the terminal and from its parent: within so long that is one signal.
SAME_SIGNAL_SECONDS: Final = 0.5
GRACEFUL_SECONDS: Final = 15
#: Above the time that any usual proxy keeps a connection: nginx and AWS 60 s, Traefik 90, Caddy 120, Oracle 300, Google
#: 600 and not to be changed. If we hang up first, a delivery that is just coming is lost and answered 502: behind Go's
#: proxy 3 in 480 of those that came within 50 ms of it. A resting connection takes 8 kB.
KEEP_ALIVE_SECONDS: Final = 620
RETRY_SECONDS: Final = 1.0
BACKLOG: Final = 2048


class CantListen(Exception):  # noqa: N818 - it says what the matter is
    """Nothing can listen at that address; the text is one line."""


def listen(host: str, port: int) -> socket.socket:
    """A socket at that address. Senders are refused, not kept waiting, until a server listens. Raises CantListen."""
    try:
        return _bound(host, port)
    except OSError as error:
        raise CantListen(f"can't listen on {host}:{port}: {error.strerror}") from None


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def server_config(app: Any, *, lifespan: str = "on", graceful_seconds: int = GRACEFUL_SECONDS) -> uvicorn.Config:
    """How uvicorn serves us: no access log (paths hold tokens), no proxy headers (credentials reads them itself)."""
    return uvicorn.Config(
        app,
        http=TimedProtocol,
        ws="none",
        loop="auto",
        backlog=BACKLOG,
        lifespan=lifespan,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=graceful_seconds,
    )


class TruePeer:
    """An app in a uvicorn that somebody else started, which by default believes X-Forwarded-For from loopback.

    PHONON_TRUSTED_PROXIES alone says whom to believe. So where a request has that header, the peer is the connection's
    own, or nobody where we can't ask it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what comes."""
        if scope["type"] == "http" and any(name == b"x-forwarded-for" for name, _ in scope["headers"]):
            transport = getattr(getattr(send, "__self__", None), "transport", None)
            scope["client"] = get_remote_addr(transport) if transport else None
        await self._app(scope, receive, send)


class GentleServer(uvicorn.Server):
    """A server that tells others before it stops, and ends with exit code 0."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._signalled_at = 0.0

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals for as long as this server runs."""
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGTERM, signal.SIGINT)}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, before)  # a worker begins with SIGINT blocked
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The first SIGTERM begins to stop; a second one, or SIGINT, does not linger."""
        self._on_stop()
        now = time.monotonic()
        self._signalled_at = self._signalled_at or now
        if sig == signal.SIGINT or now - self._signalled_at > SAME_SIGNAL_SECONDS:
            self.should_exit = True

    async def main_loop(self) -> None:
        """Serve until told to stop, and a moment longer."""
        counter = 0
        while not await self.on_tick(counter):
            await asyncio.sleep(0.1)
            counter += 1
            self.should_exit |= 0 < self._signalled_at < time.monotonic() - LINGER_SECONDS


class _Inner(uvicorn.Server):
    """A server inside another's loop: signals are not its business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing to take."""
        yield


async def serve_management(app: Any, settings: Settings) -> None:
    """Serve the management port, or wait to take over from the worker that does.

    The lock says which worker's turn it is; a port that is taken all the same is another program's, which is said once.
    On a disk that takes no lock, the first to have the port serves it.
    """
    host, port = settings.management_host, settings.management_port
    path = Path(settings.spool_dir) / f"management-{port}.lock"
    turn, said = -1, False
    try:
        while True:
            try:
                if turn == -1:
                    with suppress(OSError):
                        turn = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                if turn != -1:
                    _take(turn)
                await _serve_on(app, _bound(host, port))
            except BlockingIOError:
                pass  # another worker's turn
            except OSError as error:
                if not said:
                    log.error("management port %s:%d can't be served: %s", host, port, error.strerror)  # noqa: TRY400
                    said = True
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        if turn != -1:
            os.close(turn)


def _take(turn: int) -> None:
    """Take the lock, where the disk takes any. Raises BlockingIOError where it is another's."""
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if isinstance(error, BlockingIOError):
            raise


async def _serve_on(app: Any, listener: socket.socket) -> None:
    server = _Inner(server_config(app, lifespan="off", graceful_seconds=1))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await asyncio.wait([serving])
