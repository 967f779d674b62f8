"""Where servers of ours are, as URLs. Pure."""

from types import MappingProxyType
from typing import Final

#: Addresses that mean all of a machine's, and the one among them by which it reaches itself.
HERE: Final = MappingProxyType({"0.0.0.0": "127.0.0.1", "::": "::1"})  # noqa: S104 - nothing is bound


def url_of(host: str, port: int, path: str) -> str:
    """A server's URL: an IPv6 address stands in brackets."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"


def url_from_here(host: str, port: int, path: str) -> str:
    """The URL by which this machine reaches a server that listens there."""
    return url_of(HERE.get(host, host), port, path)
