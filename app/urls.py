"""Where servers of ours are, as URLs. Pure."""

import re
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

#: Addresses that mean all of a machine's, and the one among them by which it reaches itself.
HERE: Final = MappingProxyType({"0.0.0.0": "127.0.0.1", "::": "::1"})  # noqa: S104 - nothing is bound


def url_of(host: str, port: int, path: str) -> str:
    """A server's URL: an IPv6 address stands in brackets."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"


def url_from_here(host: str, port: int, path: str) -> str:
    """The URL by which this machine reaches a server that listens there."""
    return url_of(HERE.get(host, host), port, path)


def parted(url: str) -> tuple[str, str | None]:
    """An address without its user:password, and these. aiohttp takes only Latin-1 there, and not beside a header."""
    found = re.match(r"(https?://)([^/?#]*)@", url)
    if found is None:
        return url, None
    pair = unquote(found[2])
    return found[1] + url[found.end() :], pair if ":" in pair else f"{pair}:"
