"""A reader compiled from a record's schema for the fields one needs; all others are stepped over. Pure.

The counterpart of schemas/encoding.py. A generic decoder makes every string and time of a flow record, 28 us; a worker
needs ten fields of it, which straight-line code reads in a quarter of that. It knows one schema, the present one. What
it can't read raises `IndexError`, `KeyError` or `ValueError` and goes to the codec, which knows all versions and says
what is wrong. Supported is what our schemas use: null unions with null first, no fixed, no bytes.
Source: Avro specification 1.12, "Binary encoding".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

Wanted = Mapping[str, "Wanted | None"]
"""Fields to read, by name; of an array of records, which of theirs."""

Reader = Callable[[bytes, int], tuple[dict[str, Any], int]]


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The zigzag varint that begins at `at`, not yet unzigzagged, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


class _Compiler:
    """Turns types into statements over `data` and `at`."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"varint": varint, "BOOLEAN": (False, True)}
        self._types: dict[str, Any] = {}
        self._indent = 1
        self._variables = 0

    def say(self, *lines: str) -> None:
        self.lines += ["    " * self._indent + line for line in lines]

    def variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"

    def value(self, type_: Any, into: str | None, wanted: Wanted | None = None) -> None:
        """Statements that read a value into a variable, or step over it."""
        if isinstance(type_, list):
            self._optional(type_, into)
            return
        type_ = self._types.get(type_, type_) if isinstance(type_, str) else type_
        kind = type_["type"] if isinstance(type_, dict) else type_
        if isinstance(type_, dict) and kind in ("enum", "record"):
            self._types[type_["name"]] = type_
        getattr(self, f"_{kind}")(type_, into, wanted)

    def _raw(self, name: str) -> None:
        self.say(f"{name} = data[at]", "if " + f"{name} > 127: {name}, at = varint(data, at)", "else: at += 1")

    def _long(self, _type: Any, into: str | None, _wanted: Any) -> None:
        if into is None:
            self.say("while data[at] > 127: at += 1", "at += 1")
        else:
            self._raw(into)
            self.say(f"{into} = {into} >> 1 ^ -({into} & 1)")

    _int = _long

    def _string(self, _type: Any, into: str | None, _wanted: Any) -> None:
        self._raw("n")
        self.say("if n & 1: raise ValueError('a negative length')", "n >>= 1")
        if into is not None:
            self.say(f"{into} = data[at:at + n].decode()")
        self.say("at += n")

    def _boolean(self, _type: Any, into: str | None, _wanted: Any) -> None:
        self.say(f"{into or 'n'} = BOOLEAN[data[at]]", "at += 1")

    def _enum(self, type_: Any, into: str | None, _wanted: Any) -> None:
        name = f"ENUM_{type_['name']}"
        self.names[name] = {2 * n: symbol for n, symbol in enumerate(type_["symbols"])}
        self.say(f"{into or 'n'} = {name}[data[at]]", "at += 1")

    def _optional(self, union: list[Any], into: str | None) -> None:
        if union[0] != "null" or len(union) != 2:
            raise ValueError(f"a union must be of null and one type: {union}")
        self.say("n = data[at]", "at += 1", "if n == 2:")
        self._indent += 1
        self.value(union[1], into)
        self._indent -= 1
        self.say("elif n: raise ValueError('no branch of the union')")
        if into is not None:
            self.say(f"else: {into} = None")

    def _array(self, type_: Any, into: str | None, wanted: Wanted | None) -> None:
        if "values" in type_ and into is not None:
            raise ValueError("maps are only stepped over")
        count = self.variable()
        if into is not None:
            self.say(f"{into} = []")
        self.say("while True:")
        self._indent += 1
        self._long(None, count, None)
        self.say(f"if {count} == 0: break", f"if {count} < 0:", f"    {count} = -{count}")
        self._indent += 1
        self._long(None, None, None)
        self._indent -= 1
        self.say(f"for _ in range({count}):")
        self._indent += 1
        item = None if into is None else self.variable()
        self._item(type_, item, wanted)
        if item is not None:
            self.say(f"{into}.append({item})")
        self._indent -= 2

    def _item(self, type_: Any, into: str | None, wanted: Wanted | None) -> None:
        if "values" in type_:
            self._string(None, None, None)
            self.value(type_["values"], into, wanted)
        else:
            self.value(type_["items"], into, wanted)

    _map = _array

    def _record(self, type_: Any, into: str | None, wanted: Wanted | None) -> None:
        found = {}
        for field in type_["fields"]:
            name = field["name"]
            variable = self.variable() if into is not None and (wanted is None or name in wanted) else None
            self.value(field["type"], variable, (wanted or {}).get(name))
            if variable is not None:
                found[name] = variable
        if into is not None:
            self.say(f"{into} = {{{', '.join(f'{name!r}: {variable}' for name, variable in found.items())}}}")


def compile_reader(schema: Mapping[str, Any], wanted: Wanted) -> Reader:
    """A function from bytes and where the body begins to the wanted fields, and where the body ends."""
    compiler = _Compiler()
    compiler.value(dict(schema), "record", wanted)
    source: Final = "\n".join(["def read(data, at):", *compiler.lines, "    return record, at"])
    exec(source, compiler.names)  # noqa: S102 - the source is made from our own .avsc files
    return compiler.names["read"]  # type: ignore[no-any-return]
