"""Which DID belongs to which groups, as people write it: a CSV or a TOML file, checked whole. Pure.

A group is named `<kind>/<value>`, for example group/sales or campaign/winback, and a DID may be in any number of them.

- CSV: the header is `did` and the kinds, each row a DID and its value of each kind; an empty cell belongs to none.
- TOML: a table `[<kind>.<value>]` for each group, with `dids`, one or a list of them.

DIDs stand as on the topics, in E.164; shell patterns (`*`, `?`) stand for many. Every error names the line, and the
column where the line holds more than one thing.
"""

import csv
import fnmatch
import io
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

_KIND: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VALUE: Final = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_NUMBER: Final = re.compile(r"\+?[\d\s().-]+")
_AS_ON_TOPICS: Final = re.compile(r"\+[1-9]\d{6,14}|\d{1,7}")  # a short code is no valid number, and stays as sent
_HEADER: Final = re.compile(
    r"""\s*\[\s*["']?(?P<kind>[^\]"'.]+)["']?\s*(?:\.\s*["']?(?P<value>[^\]"']+?)["']?\s*)?\]"""
)


class GroupsError(ValueError):
    """A groups file that can't be used; one line that says where and why."""


class _Wrong(ValueError):  # noqa: N818 - it is turned into a GroupsError with its place
    """What is wrong with a name or a DID, and where in its line or table: a CSV's column, or a text of a TOML."""

    def __init__(self, text: str, at: int | str = "") -> None:
        super().__init__(text)
        self.at = at


class Groups:
    """The groups by name, each with its DIDs and patterns."""

    def __init__(self, members: Mapping[str, Iterable[str]]) -> None:
        self.names = tuple(members)
        self._exact: dict[str, list[str]] = {}
        self._patterns: list[tuple[str, Callable[[str], Any]]] = []
        for name, entries in members.items():
            patterns = [entry for entry in entries if _is_pattern(entry)]
            for entry in dict.fromkeys(entries):
                if not _is_pattern(entry):
                    self._exact.setdefault(entry, []).append(name)
            if patterns:
                self._patterns.append((name, re.compile("|".join(map(fnmatch.translate, patterns))).match))

    def of(self, did: str) -> tuple[str, ...]:
        """The groups of a DID, each once."""
        matching = [name for name, matches in self._patterns if matches(did)]
        return tuple(dict.fromkeys([*self._exact.get(did, ()), *matching]))


NO_GROUPS: Final = Groups({})


def read_csv(text: str) -> Groups:
    """The groups of a CSV file's text. Raises GroupsError."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    members: dict[str, list[str]] = {}
    try:
        kinds = _kinds([cell.strip() for cell in next(rows, [])])
        for row in rows:
            _take(members, kinds, [cell.strip() for cell in row])
    except (csv.Error, _Wrong) as error:
        column = f", column {error.at}" if isinstance(error, _Wrong) and error.at else ""
        raise GroupsError(f"line {max(1, rows.line_num)}{column}: {error}") from None
    return Groups(members)


def _kinds(header: list[str]) -> list[str]:
    if header[:1] != ["did"] or len(header) < 2:
        raise _Wrong("expected a header of did and one or more kinds, for example did,group,campaign")
    for column, kind in enumerate(header[1:], 2):
        if not _KIND.fullmatch(kind) or header.index(kind) != column - 1:
            raise _Wrong(f"expected a kind of its own, of letters, digits, _ and -; got {kind!r}", column)
    return header[1:]


def _take(members: dict[str, list[str]], kinds: list[str], row: list[str]) -> None:
    """One row of the CSV."""
    if not any(row):
        return
    if len(row) > len(kinds) + 1:
        raise _Wrong(f"{len(row)} cells under a header of {len(kinds) + 1}")
    did = _did(row[0], 1)
    for column, (kind, value) in enumerate(zip(kinds, row[1:], strict=False), 2):
        if value:
            members.setdefault(_name(kind, value, column), []).append(did)


def read_toml(text: str) -> Groups:
    """The groups of a TOML file's text. Raises GroupsError."""
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: digits and brackets by the thousand
        raise GroupsError(str(error)) from None
    members: dict[str, list[str]] = {}
    for kind, value, table in _tables(content):
        try:
            dids = _dids(kind, table)
            members[_name(kind, value)] = [_did(did, did) for did in dids]
        except _Wrong as error:
            raise GroupsError(f"{_place(text, kind, value, str(error.at))}: {error}") from None
    return Groups(members)


def _dids(kind: str, table: Any) -> list[str]:
    """What the table of a group lists."""
    strange = [key for key in table if key != "dids"] if isinstance(table, dict) else []
    if not isinstance(table, dict) or strange or "dids" not in table:
        raise _Wrong(f"expected a table [{kind}.<name>] with dids and nothing else", *strange[:1])
    dids = [table["dids"]] if isinstance(table["dids"], str) else table["dids"]
    if not isinstance(dids, list) or not all(isinstance(did, str) for did in dids):
        raise _Wrong('expected DIDs as texts, for example dids = ["+912243692987", "+9111*"]', "dids")
    return dids


def _tables(content: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Kind, value and what stands there; no value where a kind is no table of tables."""
    for kind, values in content.items():
        if not isinstance(values, dict) or not values:
            yield kind, "", values
            continue
        for value, table in values.items():
            yield kind, value, table


def _place(text: str, kind: str, value: str, what: str) -> str:
    """Line and column of a text below a group's header, else of the header; of the text alone where there is none."""
    lines = text.splitlines()
    inside, header = False, 0
    for number, line in enumerate(lines):
        found = _HEADER.match(line)
        if found and not inside:
            inside = found["kind"].strip() == kind and found["value"] in (None, value)
            header = number if inside else header
        elif found:
            break
        column = line.find(what) if inside and what and number > header else -1
        if column >= 0:
            quoted = column > 0 and line[column - 1] in "\"'"
            return f"line {number + 1}, column {column + (0 if quoted else 1)}"
    if not inside:
        header = next((number for number, line in enumerate(lines) if line.lstrip().startswith(kind)), 0)
    first = lines[header] if lines else ""
    return f"line {header + 1}, column {len(first) - len(first.lstrip()) + 1}"


def _name(kind: str, value: str, at: int | str = "") -> str:
    """The group's name."""
    if not _KIND.fullmatch(kind):
        raise _Wrong(f"expected a kind of letters, digits, _ and -; got {kind!r}")
    if not _VALUE.fullmatch(value):
        raise _Wrong(f"expected a name of at most 128 characters in kind {kind}; got {value[:200]!r}", at)
    return f"{kind}/{value}"


def _did(entry: str, at: int | str = "") -> str:
    """A DID or pattern that can match one on the topics: another spelling would silently match nothing."""
    if not entry or (_NUMBER.fullmatch(entry) and not _AS_ON_TOPICS.fullmatch(entry)):
        raise _Wrong(f"expected a DID in E.164, as on the topics, for example +912243692987; got {entry!r}", at)
    return entry


def _is_pattern(entry: str) -> bool:
    return any(sign in entry for sign in "*?")
