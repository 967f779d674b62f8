"""JSON in and out, any JSON there is: what Python has no value for stays as its text.

Pure. msgspec reads nearly everything; what it refuses though it is JSON (integers of thousands of digits, unpaired
surrogates) is read once more by the standard library, and such a value becomes a `msgspec.Raw` of its text, as does a
number that is too large for a float (1e400).
So does a text with bytes that are no UTF-8, each of which stands there as an unpaired surrogate (PEP 383): a message
that was cut in the middle of a letter must not cost the call it belongs to.
Readers see that it is no text and no number; writers write it as it came. Source: RFC 8259, sections 6, 8.2 and 9.
"""

import json
import math
from typing import Any, Final, NoReturn

import msgspec

DEEPEST: Final = 100
_sorted: Final = msgspec.json.Encoder(order="sorted").encode
_BOM: Final = b"\xef\xbb\xbf"


class NotJson(ValueError):  # noqa: N818 - it names what the body is
    """The body is not JSON; the text says why and quotes nothing of it."""


def read(body: bytes) -> Any:
    """The value of a JSON text; raises NotJson."""
    body = body.removeprefix(_BOM)
    try:
        value = _decode(body)
    except RecursionError:
        raise NotJson(f"nested deeper than {DEEPEST} levels") from None
    if body.count(b"[") + body.count(b"{") > DEEPEST and _deeper(value):
        raise NotJson(f"nested deeper than {DEEPEST} levels")
    return value


def write(value: Any) -> str:
    """The JSON text of a value that `read` gave."""
    return msgspec.json.encode(value).decode()


def canonical(value: Any) -> str:
    """One text for all that mean the same: keys sorted, no white space, null as absent."""
    return _sorted(_without_nulls(value)).decode()


def _decode(body: bytes) -> Any:
    try:
        return _usual(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _decode_odd(body)


def _decode_odd(body: bytes) -> Any:
    """The standard library's reading, with what Python can't hold as raw text."""
    try:
        text = body.decode("utf-8", "surrogateescape")
        value = json.loads(text, parse_int=_whole, parse_float=_decimal, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON at character {error.pos}") from None
    return _paired(value)


def _whole(digits: str) -> Any:
    try:
        return int(digits)
    except ValueError:  # more than Python's limit of 4,300 digits, as msgspec
        return msgspec.Raw(digits.encode())


def _decimal(digits: str) -> Any:
    value = float(digits)
    return value if math.isfinite(value) else msgspec.Raw(digits.encode())


#: Floats are Python's own: for one like 1e300 msgspec takes 8 µs, and holds the interpreter's lock for a whole body,
#: so that 1 MiB of them (2 KB with gzip) stopped a whole receiver for 1.4 s.
_usual: Final = msgspec.json.Decoder(float_hook=_decimal).decode


def _refuse(constant: str) -> NoReturn:
    raise NotJson(f"{constant} is not JSON")


def _paired(value: Any) -> Any:
    """The value, with text that is no Unicode (unpaired surrogates) as raw JSON text."""
    if isinstance(value, str):
        return value if _encodable(value) else msgspec.Raw(json.dumps(value).encode())
    if isinstance(value, list):
        return [_paired(item) for item in value]
    if isinstance(value, dict):
        return {k.encode("utf-8", "backslashreplace").decode(): _paired(v) for k, v in value.items()}
    return value


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _deeper(value: Any) -> bool:
    """Whether a value is nested deeper than allowed; without recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        children = (child for parent in level for child in (parent.values() if isinstance(parent, dict) else parent))
        level = [child for child in children if isinstance(child, dict | list)]
    return bool(level)
