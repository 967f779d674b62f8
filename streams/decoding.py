"""A reader compiled from a record's schema for the fields one needs; all others are stepped over. Pure.

The counterpart of schemas/encoding.py. A generic decoder makes every string and time of a flow record, 28 us; a worker
needs a dozen of its fields. What a pattern can tell is one regular expression, which `re` runs in C in the time of
three Python statements. It knows one schema, the present one, and what our writers make of it; all else raises
`IndexError` or `ValueError` and goes to the codec, which knows all versions and says what is wrong.
There are two kinds of reader. A `common` one takes numbers from 0 on, texts below SHORT bytes and lists of fewer than
FEW: a pattern can't count, so each length is an alternative, and a whole record is one pattern. The other takes any
record: it reads lengths by statements, and needs twice the time.
Supported is what our schemas use: null unions with null first, no fixed, no bytes, no doubles.
Source: Avro specification 1.12, "Binary encoding".
"""

import re
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, Final

from schemas.memo import Memo

Wanted = Mapping[str, "Wanted | None"]
"""Fields to read, by name; of an array of records, which of theirs."""

Reader = Callable[[bytes, int], tuple[tuple[Any, ...], int]]

BOOLEAN: Final = {0: False, 1: True}
SHORT: Final = 64  # bytes
FEW: Final = 4
TEXT: Final = "(?:" + "|".join([f"\\x{2 * size:02x}.{{{size}}}" for size in range(SHORT)]) + ")"
_VARINT: Final = "[\\x80-\\xff]{0,9}+[\\0-\\x7f]"
VARINTS: Final = re.compile(_VARINT.encode("latin-1")).findall


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


def number(data: bytes) -> int:
    """The value of one varint."""
    raw, _ = varint(data, 0)
    return raw >> 1 ^ -(raw & 1)


def _low(part: bytes) -> int:
    """What the first two bytes of a varint contribute."""
    raw = _bits(part)
    if raw & 1:
        raise ValueError("a number below 0")
    return raw >> 1


def _bits(part: bytes) -> int:
    return sum([(byte & 0x7F) << 7 * n for n, byte in enumerate(part)])


# a number as two halves that come again and again, where the whole does not: the times of eight seconds share one
_HALVES: Final = {"LOW": Memo(_low), "HIGH": Memo(lambda part: _bits(part) << 13)}


class _Run:
    """A pattern, the variables of its groups, and the statements that turn their bytes into values."""

    def __init__(self) -> None:
        self.pattern = ""
        self.groups: list[str] = []
        self.then: list[str] = []


class _Compiler:
    """Turns types into statements over `data` and `at`. Fields of one kind of size are gathered in a pattern first."""

    def __init__(self, *, common: bool) -> None:
        self._common = common
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"varint": varint, "number": number, **_HALVES}
        self._types: dict[str, Any] = {}
        self._indent = 1
        self._variables = 0
        self._run = _Run()

    def say(self, *lines: str) -> None:
        self.lines += ["    " * self._indent + line for line in lines]

    def variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"

    def record(self, type_: Any, wanted: Wanted) -> str:
        """Statements that read or step over a record; the expression of what was wanted of it, a tuple."""
        found = self._record(type_, wanted)
        self.flush()
        return found

    def _record(self, type_: Any, wanted: Wanted) -> str:
        """The same, with what came last still to be flushed."""
        found: list[str] = []
        follows = ""  # the variable of the symbol just before, if that was wanted: they are read as one
        for field in type_["fields"]:
            resolved, wants = self._resolved(field["type"]), field["name"] in wanted
            if _is_symbol(resolved):
                follows = self._symbol(resolved, wants, follows, found)
                continue
            follows = ""
            into = self.variable() if wants else None
            self._value(resolved, into, wanted.get(field["name"]))
            if into is not None:
                found.append(into)
        return f"({''.join(f'{name}, ' for name in found)})"

    def flush(self) -> None:
        """Statements for the pattern gathered so far."""
        run, self._run = self._run, _Run()
        if not run.pattern:
            return
        name = f"RUN{len(self.names)}"
        self.names[name] = re.compile(run.pattern.encode("latin-1"), re.DOTALL).match
        self.say(f"m = {name}(data, at)", "if m is None: raise ValueError('not this schema')", "at = m.end()")
        if run.groups:
            self.say(f"{', '.join(run.groups)}, = m.groups()", *run.then)

    def _resolved(self, type_: Any) -> Any:
        if isinstance(type_, str):
            return self._types.get(type_, type_)
        if isinstance(type_, dict):
            if type_["type"] == "enum":
                self._types[type_["name"]] = type_
            return type_["type"] if type_["type"] in ("int", "long", "string") else type_
        return type_

    def _symbol(self, type_: Any, wants: bool, follows: str, found: list[str]) -> str:
        """An enum, boolean or int, as a rule one byte. Wanted neighbours share a group; returns its variable."""
        if type_ == "int":
            accepted = _VARINT
        else:
            known = (0, 1) if type_ == "boolean" else range(0, 2 * len(type_["symbols"]), 2)
            accepted = "[" + "".join([f"\\x{byte:02x}" for byte in known]) + "]"
        run = self._run
        if follows and wants:
            run.pattern = f"{run.pattern[:-1]}{accepted})"
            return follows
        run.pattern += f"({accepted})" if wants else accepted
        if not wants:
            return ""
        found.append(self.variable())
        run.groups.append(found[-1])
        return found[-1]

    def _value(self, type_: Any, into: str | None, wanted: Wanted | None) -> None:
        optional = isinstance(type_, list)
        if optional:
            null, type_ = type_
            if null != "null":
                raise ValueError(f"a union must be of null and one type: {type_}")
            type_ = self._resolved(type_)
        if type_ in ("int", "long"):
            self._part(_VARINT, into, "LOW[{0}[:2]] + HIGH[{0}[2:]]" if self._common else "number({0})", optional)
        elif type_ == "string" and self._common:
            self._part(TEXT, into, "{0}[1:]", optional)
        elif type_ == "string":
            self.flush()
            self._string(into, optional=optional)
        elif self._common and type_.get("items", type_.get("values")) == "string":
            each = 2 if "values" in type_ else 1
            filled = [f"\\x{2 * n:02x}{TEXT}{{{n * each}}}\\0" for n in range(1, FEW)]
            self._run.pattern += "(?:" + "|".join(["\\0", *filled]) + ")"
        elif self._common:
            self._few(type_["items"], into, wanted or {})
        else:
            self.flush()
            self._items(type_, into, wanted)

    def _part(self, pattern: str, into: str | None, value: str, optional: bool) -> None:
        """A number or text, and how its value is made of its bytes."""
        run = self._run
        if into is not None:
            pattern = f"({pattern})"
            run.groups.append(into)
            run.then.append((f"if {into} is not None: " if optional else "") + f"{into} = {value.format(into)}")
        run.pattern += f"(?:\\0|\\x02{pattern})" if optional else pattern

    def _few(self, type_: Any, into: str | None, wanted: Wanted) -> None:
        """An array of less than FEW records, as part of the pattern: how many there are says which of them follow."""
        outer, then, inside = self._run, [f"{into} = []"], ""
        marks, items, groups = [self.variable() for _ in range(1, FEW)], "", list[str]()
        for mark in marks:
            self._run = run = _Run()
            found = self._record(self._resolved(type_), wanted)
            items += f"(?({mark}){run.pattern})"
            groups += run.groups
            then.append(f"{inside}if {mark}:")
            inside += "    "
            then += [inside + line for line in (*run.then, f"{into}.append({found})")]
        count = "|".join([f"(?P<{mark}>\\x{2 * n:02x}" for n, mark in enumerate(marks, 1)]) + ")" * len(marks)
        self._run = outer
        outer.pattern += f"(?:\\0|{count}{items}\\0)"
        outer.groups += [*marks, *groups]
        if into is not None:
            outer.then += then

    def _length(self, name: str) -> None:
        self.say(
            f"{name} = data[at]",
            f"if {name} > 127: {name}, at = varint(data, at)",
            "else: at += 1",
            f"if {name} & 1: raise ValueError('a length below 0')",
        )

    def _string(self, into: str | None, *, optional: bool = False) -> None:
        if optional:
            self.say("n = data[at]", "at += 1", *([f"{into} = None"] if into else []), "if n == 2:")
            self._indent += 1
        self._length("n")
        if into is not None:
            self.say("n = at + (n >> 1)", f"{into} = data[at:n]", "at = n")
        else:
            self.say("at += n >> 1")
        if optional:
            self._indent -= 1
            self.say("elif n: raise ValueError('no branch of the union')")

    def _items(self, type_: Any, into: str | None, wanted: Wanted | None) -> None:
        """An array or a map, whose blocks all have a length above 0, as our writers' have."""
        count = self.variable()
        if into is not None:
            self.say(f"{into} = []")
        self.say("while True:")
        self._indent += 1
        self._length(count)
        self.say(f"if not {count}: break", f"for _ in range({count} >> 1):")
        self._indent += 1
        if "values" in type_:
            self._string(None)
        item = self._resolved(type_.get("items", type_.get("values")))
        if item == "string":
            self._string(None)
        else:
            value = self.record(item, wanted or {})
            if into is not None:
                self.say(f"{into}.append({value})")
        self._indent -= 2


def _is_symbol(type_: Any) -> bool:
    return type_ in ("boolean", "int") or (isinstance(type_, dict) and type_["type"] == "enum")


def compile_reader(schema: Mapping[str, Any], wanted: Wanted, *, common: bool = False) -> Reader:
    """A function from bytes and where the body begins to the wanted fields, and where the body ends.

    Longs come as ints, texts as their UTF-8; enums, booleans and ints that are wanted and neighbours as the bytes of
    all of them, to be looked up; arrays of records as lists of tuples. Of other arrays and maps nothing can be wanted.
    """
    compiler = _Compiler(common=common)
    record = compiler.record(schema, wanted)
    source: Final = "\n".join(["def read(data, at):", *compiler.lines, f"    return {record}, at"])
    exec(source, compiler.names)  # noqa: S102 - the source is made from our own .avsc files
    return compiler.names["read"]  # type: ignore[no-any-return]


def enums(type_: Any) -> dict[str, dict[int, str]]:
    """The symbols of each enum in a schema, by the byte that stands for them."""
    if isinstance(type_, list):
        return {name: found for one in type_ for name, found in enums(one).items()}
    if not isinstance(type_, Mapping):
        return {}
    if type_["type"] == "enum":
        return {type_["name"]: {2 * n: symbol for n, symbol in enumerate(type_["symbols"])}}
    return enums([field["type"] for field in type_.get("fields", ())] + [type_.get("items"), type_["type"]])


def symbols(*choices: Mapping[int, Any]) -> dict[bytes, tuple[Any, ...]]:
    """What the bytes of neighbours mean, from what each byte of them does."""
    return {
        bytes(byte for byte, _ in one): tuple(meaning for _, meaning in one)
        for one in product(*[choice.items() for choice in choices])
    }


def numbers(data: bytes) -> list[int]:
    """The ints that are neighbours, from their bytes."""
    return [number(one) for one in VARINTS(data)]
