"""An Avro encoder compiled from a schema: one Python expression per record, from attributes straight to bytes.

Pure. fastavro's generic writer looks every field up in the schema for every record; here that is done once, at import.
It writes what fastavro writes, byte for byte (a property test holds that for every schema), and it trusts its input.
Only what our schemas use is supported: null unions with null first, no fixed, no bytes, no unions of several types.
Source: Avro specification 1.12, "Binary encoding".
"""

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from schemas.memo import Memo


def _varint(n: int) -> bytes:
    """A zigzag varint, 1 to 10 bytes."""
    return _base128((n << 1) ^ (n >> 63))


def _base128(n: int) -> bytes:
    if n >= 0x4000:
        return _MORE[n & 0x7F] + _MORE[n >> 7 & 0x7F] + _rest(n >> 14)
    return _MORE[n & 0x7F] + _LAST[n >> 7] if n > 0x7F else _LAST[n]


#: What follows the first two bytes: the same for all moments (ms) within 8 s, and one or two bytes for spans.
_rest: Final = lru_cache(maxsize=256)(_base128)
_LAST: Final = [bytes((n,)) for n in range(0x80)]
_MORE: Final = [bytes((n | 0x80,)) for n in range(0x80)]


#: Varints by number: a delivery writes each of its moments many times. No more, so that they fit the processor's cache.
_LONGS: Final = Memo(_varint, 1024)
#: Stands before the value in a union with null, which comes first.
_SOME: Final = b"\2"

#: A zigzag varint, 1 to 10 bytes, for whoever encodes by hand.
long: Final = lru_cache(maxsize=8192)(_varint)


#: The lengths of nearly all texts. A list: with a Memo the receiver's pure middle costs 2 % more.
_LENGTHS: Final = [_varint(n) for n in range(8192)]


def text(value: str) -> bytes:
    """A string: its length in bytes, then UTF-8."""
    data = value.encode()
    return long(len(data)) + data


def array(items: list[bytes]) -> bytes:
    """An array or map from its encoded items: one block, then the end mark."""
    return _LONGS[len(items)] + b"".join(items) + b"\0" if items else b"\0"


#: What every expression may use.
_NAMES: Final = {
    "longs": _LONGS,
    "lengths": _LENGTHS,
    "longer": _varint,
    "some_lengths": [_SOME + length for length in _LENGTHS],
    "some_longer": lambda n: _SOME + _varint(n),
    "flags": {False: b"\0", True: b"\1"},
    "some_flags": {None: b"\0", False: b"\2\0", True: b"\2\1"},
    "text": text,
    "array": array,
    "double": struct.Struct("<d").pack,
}
_SIMPLE: Final = {
    "string": "text({})",
    "int": "longs[{}]",
    "long": "longs[{}]",
    "double": "double({})",
    "boolean": "flags[{}]",
}


#: Fields that are joined in one step: beyond 30 items (a text is two) Python makes a tuple by way of a list (2 %).
_AT_ONCE: Final = 15


def _length(data: str, some: str = "") -> str:
    """The expression for the length of some bytes, themselves an expression."""
    return f"({some}lengths[n] if (n := len({data})) < {len(_LENGTHS)} else {some}longer(n))"


class _Compiler:
    """Turns types into expressions; what these need at run time is in `names`."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = dict(_NAMES)
        self._types: dict[str, Any] = {}
        self._depth = 0

    def expression(self, type_: Any, value: str) -> str:
        """The Python expression for the bytes of `value`, itself an expression without side effects."""
        if isinstance(type_, list):
            return self._optional(type_, value)
        if isinstance(type_, str):
            type_ = self._types.get(type_, type_)
        kind = type_["type"] if isinstance(type_, dict) else type_
        if kind in _SIMPLE:
            return _SIMPLE[kind].format(value)
        return str(getattr(self, f"_{kind}")(type_, value))

    def _variable(self) -> str:
        self._depth += 1
        return f"v{self._depth}"

    def _optional(self, union: list[Any], value: str) -> str:
        null, type_ = union
        if null != "null":
            raise ValueError(f"a union must be of null and one type: {union}")
        if type_ == "boolean":
            return f"some_flags[{value}]"
        v = self._variable()
        some = f'b"\\2" + {self.expression(type_, v)}'
        if type_ == "string":
            some = f"{_length(f'{v} := {v}.encode()', 'some_')} + {v}"
        return f'(b"\\0" if ({v} := {value}) is None else {some})'

    def _enum(self, type_: dict[str, Any], value: str) -> str:
        self._types[type_["name"]] = type_
        name = f"enum_{type_['name']}"
        self.names[name] = {symbol: long(n) for n, symbol in enumerate(type_["symbols"])}
        return f"{name}[{value}]"

    def _array(self, type_: dict[str, Any], value: str) -> str:
        v = self._variable()
        return self._items(value, f"{self.expression(type_['items'], v)} for {v} in {value}")

    def _map(self, type_: dict[str, Any], value: str) -> str:
        k, v = self._variable(), self._variable()
        return self._items(value, f"text({k}) + {self.expression(type_['values'], v)} for {k}, {v} in {value}.items()")

    def _items(self, value: str, each: str) -> str:
        """Most are empty, and a comprehension costs a call."""
        return f'(array([{each}]) if {value} else b"\\0")'

    def _record(self, type_: dict[str, Any], value: str) -> str:
        self._types[type_["name"]] = type_
        name = f"record_{type_['name']}"
        if name not in self.names:
            self.names[name] = self.function(type_, b"")
        return f"{name}({value})"

    def _field(self, type_: Any, value: str) -> str:
        """One or more expressions with commas between them, to be joined."""
        if type_ != "string":
            return self.expression(type_, value)
        v = self._variable()
        return f"{_length(f'{v} := {value}.encode()')}, {v}"

    def function(self, record: dict[str, Any], prefix: bytes, given: Sequence[str] = ()) -> Callable[..., bytes]:
        """The encoder of a record type; `given`: texts whose UTF-8 the caller has."""
        fields = ["prefix"]
        for field in record["fields"]:
            name, type_ = field["name"], field["type"]
            fields.append(f"{_length(name)}, {name}" if name in given else self._field(type_, f"r.{name}"))
        parts = (", ".join(fields[n : n + _AT_ONCE]) for n in range(0, len(fields), _AT_ONCE))
        whole = " + ".join(f"b''.join(({part},))" for part in parts)
        self.names["prefix"] = prefix
        source = f"def encode({', '.join(('r', *given))}, prefix=prefix): return {whole}"
        exec(source, self.names)  # noqa: S102 - the source is made from our own .avsc files
        return self.names.pop("encode")  # type: ignore[no-any-return]


def compile_encoder(schema: dict[str, Any], prefix: bytes, given: Sequence[str] = ()) -> Callable[..., bytes]:
    """A function from an object with an attribute per field to `prefix` and the record's bytes.

    Texts that are `given` are not taken from the object: their UTF-8 is passed after it, in that order.
    """
    return _Compiler().function(schema, prefix, given)
