"""HTTP/1.1 as uvicorn speaks it, with what it leaves out: no request may take for ever to arrive.

uvicorn times neither headers nor what it discards, and bounds no header: a sender that trickles holds a connection for
ever. Here a request has REQUEST_SECONDS from its first byte to its last (the body alone has less, see app/body.py), its
head has HEAD_BYTES, and what is no HTTP at all is told so in the same form as every other problem.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.problems import Problem, problem_reply

REQUEST_SECONDS: Final = 10.0
HEAD_BYTES: Final = 64 * 1024


class TimedProtocol(HttpToolsProtocol):
    """One connection."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """A connection that says nothing is timed as well."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more to time."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        if self._timer is None:
            self._arm()
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("the request's head is too large")

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head_bytes = -(1 << 62)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._disarm()
        self._head_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP, and hang up."""
        reply = problem_reply(Problem(400, msg.rstrip("."), closes=True))
        head = b"".join(b"%s: %s\r\n" % header for header in reply.headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + reply.body)
        self.transport.close()

    def _arm(self) -> None:
        self._timer = self.loop.call_later(REQUEST_SECONDS, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        self.transport.abort()
