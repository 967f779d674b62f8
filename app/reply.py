"""A whole HTTP answer of a plain ASGI endpoint, and the messages that send it. Pure."""

from collections.abc import Iterator, MutableMapping
from typing import Any, Final, NamedTuple

JSON: Final = b"application/json"


class Reply(NamedTuple):
    """Status, headers, body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def messages(self) -> Iterator[MutableMapping[str, Any]]:
        """What to send, in this order."""
        yield {"type": "http.response.start", "status": self.status, "headers": self.headers}
        yield {"type": "http.response.body", "body": self.body}


def reply(status: int, content_type: bytes, body: bytes) -> Reply:
    """An answer whose headers say type and length."""
    return Reply(status, [(b"content-type", content_type), (b"content-length", b"%d" % len(body))], body)
