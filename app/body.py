"""The body of a request: read within a limit and a time, inflated within the same limit.

`inflate` is pure. Both stop at the limit instead of finding out afterwards: an endless stream and a gzip bomb cost no
more than the largest body that is allowed.
"""

import zlib
from typing import Final

from starlette.types import Receive

from app.deadline import Deadline
from app.problems import Problem

#: Read on this far beyond the limit, so that an ordinary sender sees the 413 and not a reset connection.
DISCARD_BYTES: Final = 8 * 1024 * 1024
MOST_MEMBERS: Final = 64
GZIP: Final = zlib.MAX_WBITS | 16
PLAIN: Final = frozenset({b"", b"identity"})
ZIPPED: Final = frozenset({b"gzip", b"x-gzip"})


class Gone(Exception):  # noqa: N818 - it names the sender
    """The sender hung up before its body was whole; nobody waits for an answer."""


class Budget:
    """How many bytes of bodies a process holds at once, whoever they come from."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = 0

    def take(self, number: int) -> None:
        """Hold that many more. Raises Problem (503) where that is too much."""
        if self.held_bytes + number > self.most_bytes:
            raise Problem(503, "too many deliveries at once", closes=True)
        self.held_bytes += number

    def give(self, number: int) -> None:
        """Hold that many less."""
        self.held_bytes -= number


async def read_body(receive: Receive, *, limit: int, seconds: float, budget: Budget) -> bytes:
    """The body as it came; its bytes stay taken from the budget. Raises Problem (413, 503 when too slow) or Gone."""
    chunks: list[bytes] = []
    try:
        with Deadline(seconds):
            size = await _read(receive, chunks, limit, budget)
    except BaseException as error:
        budget.give(sum(map(len, chunks)))
        if isinstance(error, TimeoutError):
            raise Problem(503, f"the body did not arrive within {seconds:g} s", closes=True) from None
        raise
    if size > limit:
        raise Problem(413, f"the body is larger than {limit} bytes", closes=size > limit + DISCARD_BYTES)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _read(receive: Receive, chunks: list[bytes], limit: int, budget: Budget) -> int:
    """Collect the body; its size, also where it is over the limit and was let go."""
    size = 0
    while size <= limit + DISCARD_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            budget.take(len(chunk))
            chunks.append(chunk)
        else:
            budget.give(sum(map(len, chunks)))
            chunks.clear()
        if not message.get("more_body"):
            break
    return size


def inflate(raw: bytes, encoding: bytes, *, limit: int) -> bytes:
    """The body after Content-Encoding. Raises Problem: 400 for what can't be read, 413 beyond the limit."""
    encoding = encoding.strip().lower()
    if encoding in PLAIN:
        return raw
    if encoding not in ZIPPED:
        raise Problem(400, "Content-Encoding: only gzip and identity are read")
    whole = bytearray()
    for _ in range(MOST_MEMBERS):
        member = zlib.decompressobj(GZIP)
        try:
            whole += member.decompress(raw, limit + 1 - len(whole))
        except zlib.error:
            raise Problem(400, "the body is not gzip") from None
        if len(whole) > limit:
            raise Problem(413, f"the body is larger than {limit} bytes after inflating")
        if not member.eof:
            raise Problem(400, "the gzip body ends too early")
        raw = member.unused_data
        if not raw.strip(b"\0"):
            return bytes(whole)
    raise Problem(400, f"the gzip body has more than {MOST_MEMBERS} members")
