"""The page's own files, read once at the start: no path of a request ever reaches the disk.

Browsers ask each time whether a file is still the same (ETag), so that a new version shows at once.
"""

import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

FOLDER: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """One file as it is sent."""

    content: bytes
    type: str
    etag: str


def read_assets() -> dict[str, Asset]:
    """Name -> file, for all that we know how to send."""
    paths = [path for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES]
    return {path.name: _asset(path.read_bytes(), TYPES[path.suffix]) for path in paths}


def _asset(content: bytes, type_: str) -> Asset:
    return Asset(content, type_, f'"{hashlib.sha256(content).hexdigest()[:16]}"')


def reply(asset: Asset, request: Request) -> Response:
    """The file, or 304 where the browser has it."""
    headers = {"etag": asset.etag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.type, headers=headers)
