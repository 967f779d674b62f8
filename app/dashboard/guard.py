"""Who may look: what stands before every request of the page, and the headers that go with every reply.

The receiver's rules hold (app/credentials.py): whatever is configured must pass. A browser can send Basic, or the token
as the first segment of the path, http://host:8090/<token>/, which is why every address in the page is relative.
Without a credential only loopback is served, and only under a loopback name: otherwise a page elsewhere could point a
name of its own at 127.0.0.1 and read us through the visitor's browser (DNS rebinding).
"""

from typing import Final

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.credentials import Credentials, read_credentials, verify_sender
from app.problems import Problem, problem_reply
from app.urls import url_of
from schemas.settings import Settings

HEADERS: Final = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
CHALLENGE: Final = b'Basic realm="phonon-events", charset="UTF-8"'
LOCAL_NAMES: Final = (b"localhost", b"127.0.0.1", b"[::1]")
#: For probes: they say only yes or no.
OPEN_PATHS: Final = ("/healthz", "/readyz")


def page_credentials(settings: Settings) -> Credentials:
    """The page's own Basic, else the receiver's Basic and token; signatures and addresses are the senders' business."""
    read = read_credentials(settings)
    own = settings.dashboard_basic_auth
    basic, token = (own.encode(), None) if own else (read.basic, read.token)
    return Credentials(basic=basic, token=token, anonymous=read.anonymous)


def address(settings: Settings, port: int) -> str:
    """Where to look; the token is named, not shown."""
    token = "<PHONON_TOKEN>/" if page_credentials(settings).token else ""
    return url_of(settings.dashboard_host, port, f"/{token}")


class Guard:
    """ASGI around the page."""

    def __init__(self, app: ASGIApp, credentials: Credentials) -> None:
        self._app = app
        self._credentials = credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 401 (or 404 for a foreign name); add the headers."""

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, dressed)
            return
        last = scope["path"].rpartition("/")[2]
        try:
            scope = self._verified(scope)
        except Problem as problem:
            for message in problem_reply(problem, challenge=CHALLENGE).messages():
                await dressed(message)
            return
        if not scope["path"]:  # the token without a slash behind it: relative addresses need one
            await RedirectResponse(f"{last}/", 307)(scope, receive, dressed)
            return
        await self._app(scope, receive, dressed)

    def _verified(self, scope: Scope) -> Scope:
        """The scope without the token in its path. Raises Problem."""
        credentials = self._credentials
        if not credentials.configured and not credentials.anonymous and not _local(scope["headers"]):
            raise Problem(404, "this page is served under a loopback name only")
        token, path = None, scope["path"]
        in_header = credentials.basic is None and _bearer(scope["headers"])
        if credentials.token is not None and not in_header:
            token, slash, rest = path[1:].partition("/")
            path = f"/{rest}" if slash else ""
        verify_sender(credentials, scope["headers"], peer=(scope["client"] or ("",))[0], path_token=token)
        return {**scope, "path": path, "raw_path": path.encode()}


def _bearer(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"authorization" and value.lower().startswith(b"bearer ") for name, value in headers)


def _local(headers: list[tuple[bytes, bytes]]) -> bool:
    host = next((value for name, value in headers if name == b"host"), b"")
    name = host[: host.find(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]
    return name.lower() in LOCAL_NAMES
