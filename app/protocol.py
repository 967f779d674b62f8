"""HTTP/1.1 as uvicorn speaks it, with what it leaves out: no request may take for ever to arrive.

uvicorn times neither headers nor what it discards, and bounds no header: a sender that trickles holds a connection for
ever. Here a request has REQUEST_SECONDS from its first byte to its last (the body alone has less, see app/body.py), its
head has HEAD_BYTES and MOST_FIELDS, and what is no HTTP at all is refused in the same form as all other problems. And a
reply is one write: uvicorn's two are a system call and a segment more, 8 % of the cost of a spooled delivery.

Of the requests that are sent ahead of their answers, MOST_WAITING may wait. uvicorn takes all that came, and reads on
with each answer: one stranger's connection filled 1.7 GB in 10 s, as 18 bytes sent are a request of 2.5 kB.

Fields behind a chunked body (trailers) do not belong to the head, though uvicorn puts them there: an address in one
would be believed before the one that the proxy wrote into the head (RFC 9110, 6.5.1).

A sender that closes its half of the connection behind its request still waits for the answer (RFC 9112, 9.6), and gets
it; uvicorn would hang up.

An offer to upgrade is declined by answering the request as if there were none (RFC 9110, 7.8). The parser reads no body
behind one, so that such a delivery would be empty, and told 400: Java's own HTTP client offers h2c with its requests
where there is no TLS.
"""

import asyncio
import resource
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.problems import Problem, problem_reply

REQUEST_SECONDS: Final = 10.0
HEAD_BYTES: Final = 64 * 1024
#: No proxy passes on more (Apache 100, HAProxy 101), and the smallest take 24 times their size on the wire.
MOST_FIELDS: Final = 128
#: Connections at once; and the files that they leave to others: without any the spool takes nothing, Kafka is not found
#: again, and no probe of the management port is answered. Anybody can open connections, and rest on them for minutes.
MOST_CONNECTIONS: Final = 4096
OTHER_FILES: Final = 128
#: Requests behind the one that is being answered; beyond them the connection ends.
MOST_WAITING: Final = 16
LENGTH: Final = b"\ncontent-length: "


class Replies:
    """A connection as uvicorn's cycles see it: a reply's head waits for its body, unless that is of unknown length."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""

    def write(self, data: bytes) -> None:
        """Take the head of a reply, or a part of its body."""
        if not self._held and data.startswith(b"HTTP/1.1 ") and LENGTH in data:
            self._held = data
            return
        self._transport.write(self._held + data)
        self._held = b""

    def flush(self) -> None:
        """Send a head that has no body."""
        held, self._held = self._held, b""
        if held:
            self._transport.write(held)

    def close(self) -> None:
        """Hang up after the reply."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether that is under way."""
        return self._transport.is_closing()


class TimedProtocol(HttpToolsProtocol):
    """One connection."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _whole = True  # whether no request is under way
    _head_again = False  # the parser reads a head that was read already
    _replies: Replies

    def connection_made(self, transport: Any) -> None:
        """A connection that says nothing is timed as well."""
        super().connection_made(transport)
        self._replies = Replies(transport)
        if len(self.connections) > most_connections() and not self._make_room():
            self._refuse(Problem(503, "too many connections at once", closes=True))
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more to time. After a reset uvicorn's own timer would run on, and keep the whole connection alive."""
        self._disarm()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn's says nothing, and hangs up
        """The sender has said all that it will: one that waits for its answer gets it, and then we hang up."""
        waits = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        if waits:
            self.cycle.keep_alive = False
        return waits

    def data_received(self, data: bytes) -> None:
        """Bytes of a request. Most are whole at once, and need no timer."""
        self._whole = False
        self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            if not self.transport.is_closing():
                self.logger.warning("Invalid HTTP request received.")
                self.send_400_response("Invalid HTTP request received.")
        if self._timer is None and not self._whole:
            self._arm()
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("the request's head is too large")

    def _parse(self, data: bytes) -> None:
        """Parse; where the parser stops for an upgrade, go on behind the head. Raises HttpParserError."""
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                self._decline()
            else:
                return

    def _decline(self) -> None:
        """Have the body read by another parser, which knows only how long it is."""
        names = (b"content-length", b"transfer-encoding")
        lines = [b"%s: %s\r\n" % header for header in self.headers if header[0] in names]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._head_again = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(lines) + b"\r\n")
        self._head_again = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or one behind the body."""
        if self._head_bytes < 0:
            return
        if len(self.headers) == MOST_FIELDS:
            raise httptools.HttpParserError("too many fields")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._head_again:
            return
        if len(self.pipeline) == MOST_WAITING:
            self.transport.abort()  # an answer now would be taken for that of the first one
            raise httptools.HttpParserError("too many requests wait")  # so that the rest is not parsed
        self._head_bytes = -(1 << 62)
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = cast(asyncio.Transport, self._replies)

    def on_message_complete(self) -> None:
        """The request is whole, unless the parser only stops for an upgrade."""
        if self.parser.should_upgrade():
            return
        self._whole = True
        self._disarm()
        self._head_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The reply is whole."""
        self._replies.flush()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP, and hang up."""
        self._refuse(Problem(400, msg.rstrip("."), closes=True))

    def _refuse(self, problem: Problem) -> None:
        """Say what is the matter before there is a request, and hang up."""
        reply = problem_reply(problem)
        head = b"".join(b"%s: %s\r\n" % header for header in reply.headers)
        self.transport.write(STATUS_LINE[reply.status] + head + b"\r\n" + reply.body)
        self.transport.close()

    def _make_room(self) -> bool:
        """Hang up on connections that rest; whether there were any."""
        ours = [one for one in self.connections if isinstance(one, TimedProtocol)]
        resting = [one for one in ours if one.timeout_keep_alive_task is not None and one._whole]
        for one in resting:
            one.transport.abort()
        return bool(resting)

    def _arm(self) -> None:
        self._timer = self.loop.call_later(REQUEST_SECONDS, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        self.transport.abort()


def most_connections() -> int:
    """How many connections may be open, by the files that this process may have open now."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MOST_CONNECTIONS, max(files - OTHER_FILES, files // 2)) if files > 0 else MOST_CONNECTIONS
