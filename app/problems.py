"""What each refusal means to the sender: one table of problems, by status, and one way to say them.

Pure. The table is the error half of the README's. A problem's text never holds anything that was sent: it names the
rule, not the value. The form is `application/problem+json` (RFC 9457).
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from app.reply import Reply, reply

CONTENT_TYPE: Final = b"application/problem+json"
CHALLENGE: Final = b'Basic realm="phonon", Bearer realm="phonon"'

#: Status -> title, from which the type is made; no other status is sent. Not Python's phrases, some of which changed in
#: 3.13: a type stays what it was.
TITLES: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "Bad Request",
        401: "Unauthorized",
        404: "Not Found",
        405: "Method Not Allowed",
        413: "Request Entity Too Large",
        422: "Unprocessable Entity",
        503: "Service Unavailable",
        507: "Insufficient Storage",
    }
)
#: Status -> what the sender should do.
ADVICE: Final[Mapping[int, str]] = MappingProxyType({s: "retry" if s >= 500 else "fix it" for s in TITLES})
RETRY_AFTER_SECONDS: Final = 2


class Problem(Exception):  # noqa: N818 - it names what the sender is told, not an error of ours
    """A refusal with its status. `closes`: the connection can't be kept, as the body was not read to its end."""

    def __init__(self, status: int, detail: str, *, closes: bool = False) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.closes = closes


class Refused(Problem):
    """Credentials missing or wrong, or an address outside the list: one and the same answer for all of them."""

    def __init__(self) -> None:
        super().__init__(401, "credentials are missing or wrong")


def problem_reply(problem: Problem, *, allow: str = "", challenge: bytes = CHALLENGE) -> Reply:
    """The reply that says a problem; a 405 must name the methods that are allowed, a 401 how to prove oneself."""
    title = TITLES[problem.status]
    body = json.dumps(
        {
            "type": f"urn:phonon-events:problem:{title.lower().replace(' ', '-')}",
            "title": title,
            "status": problem.status,
            "detail": problem.detail,
        }
    ).encode()
    said = reply(problem.status, CONTENT_TYPE, body)
    if ADVICE[problem.status] == "retry":
        said.headers.append((b"retry-after", b"%d" % RETRY_AFTER_SECONDS))
    if problem.status == 401:
        said.headers.append((b"www-authenticate", challenge))
    if allow:
        said.headers.append((b"allow", allow.encode()))
    if problem.closes:
        said.headers.append((b"connection", b"close"))
    return said
