"""The user:password of an address: it goes into a header, and into no text. Pure. Source: RFC 3986, 3.2.1; RFC 7617."""

import re
from base64 import b64encode
from urllib.parse import unquote


def parted(url: str) -> tuple[str, str | None]:
    """An address without its user:password, and these. aiohttp takes only Latin-1 there, and not beside a header."""
    found = re.match(r"(https?://)([^/?#]*)@", url)
    if found is None:
        return url, None
    user, _, password = found[2].partition(":")
    return found[1] + url[found.end() :], f"{unquote(user)}:{unquote(password)}"


def basic(pair: str) -> str:
    """The Authorization of a user:password, in UTF-8."""
    return f"Basic {b64encode(pair.encode()).decode()}"
