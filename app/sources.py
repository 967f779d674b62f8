"""Where posted deliveries come from: files, folders and pipes, each delivery with its place, and how far it got.

Its rules:
- A body is passed on byte for byte, readable or not: the receiver says what it is. What can't even be read (a damaged
  archive, a file without permission) is a `Trouble` with file and line, and the next file is read.
- A state file says, for each file, the line until which everything is settled, with a digest of all until there. So
  nothing is skipped after an interruption at any point; what was settled beyond it is posted again, which the ids make
  harmless. A file whose beginning is not what it was is begun anew.
"""

import gzip
import hashlib
import json
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Final, NamedTuple

from schemas.userinfo import parted

KINDS: Final = (".json", ".jsonl", ".jsonl.gz", ".body")  # the last are those that the spool has set aside
SAVE_EVERY_S: Final = 1.0
VERSION: Final = 1


class Item(NamedTuple):
    """A delivery: its body, the file and line it begins at, and the digest of the file's deliveries up to it."""

    body: bytes
    name: str
    line: int
    digest: bytes


class Trouble(NamedTuple):
    """What can't be read, where, and why."""

    name: str
    line: int
    reason: str


class Mark(NamedTuple):
    """Until which line of a file all is settled, and the digest until there."""

    line: int
    digest: bytes


class NoState(ValueError):  # noqa: N818 - it says what the file is
    """A state file that can't be used; the text is one line."""


START: Final = Mark(0, b"")


def expand(names: Sequence[str]) -> list[str]:
    """The files meant: a folder stands for all deliveries inside it, sorted by path. Raises OSError.

    A folder that can't be listed ends it: what is in there would be missing, and nobody would know how much.
    """
    found: list[str] = []
    for name in names:
        if name == "-" or not Path(name).is_dir():
            found.append(name)
        else:
            found += map(str, sorted(path for path in _inside(name) if path.name.endswith(KINDS) and path.is_file()))
    return found


def _inside(folder: str) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(place, name) for name in names)


def documents(name: str, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Line and body of each delivery: one a file (.json, .body), one a line (.jsonl), or whichever it looks like."""
    name = name.removesuffix(".gz")
    if name.endswith((".json", ".body")):
        yield 1, file.read()
        return
    first = file.readline()
    if not name.endswith(".jsonl") and not _is_json(first):
        if first:  # an empty pipe is none
            yield 1, first + file.read()
        return
    for line, row in enumerate(chain((first,), file), 1):
        if row.strip():
            yield line, row.strip()


@dataclass(slots=True)
class Sources:
    """The deliveries in files, `-` is stdin, from where a state says; troubles are told as they are met."""

    names: Sequence[str]
    begin: Callable[[str], Mark] = lambda _name: START
    told: Callable[[Trouble], None] = lambda _trouble: None
    skipped: int = 0
    anew: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Item]:
        """All deliveries that are not settled, in order."""
        for name in self.names:
            yield from self._rest(name)

    def _rest(self, name: str) -> Iterator[Item]:
        mark, last, held = self.begin(name), START, 0
        for item in self._items(name):
            if item.line <= mark.line:
                last, held = Mark(item.line, item.digest), held + 1
                continue
            if mark != last:  # not the file that it was
                break
            yield item
        if mark == last:
            self.skipped += held
            return
        self.anew.append(name)
        yield from self._items(name)

    def _items(self, name: str) -> Iterator[Item]:
        line, digest = 0, b""
        try:
            with _opened(name) as file:
                for line, body in documents(name, file):
                    digest = hashlib.blake2b(digest + body, digest_size=16).digest()
                    yield Item(body, name, line, digest)
        except (OSError, EOFError, zlib.error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.told(Trouble(name, line + 1, " ".join(reason.split())))


@dataclass(slots=True)
class Progress:
    """What became of the deliveries handed out, in their order; written down where a state file is wanted."""

    path: Path | None
    url: str
    marks: dict[str, Mark] = field(default_factory=dict)
    _given: deque[Item] = field(default_factory=deque)
    _settled: set[int] = field(default_factory=set)
    _first: int = 0  # the number of the first in _given
    _held: bool = False
    _saved_at: float = 0.0

    def load(self) -> "Progress":
        """Read what an earlier run wrote down. Raises NoState, OSError."""
        if self.path is None or not self.path.exists():
            return self
        try:
            state = json.loads(self.path.read_bytes())
            if state["version"] != VERSION:
                raise NoState(f"{self.path} was written by another version of phonon-events: name another file")
            url, files = parted(state["url"])[0], state["files"].items()
            self.marks = {name: Mark(int(mark["line"]), bytes.fromhex(mark["digest"])) for name, mark in files}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, NoState):
                raise
            raise NoState(f"{self.path} is no state of `phonon-events send`: name another file") from None
        if url != self.url:
            raise NoState(f"{self.path} is about deliveries to {url}: name another file for {self.url}")
        return self

    def is_own(self, name: str) -> bool:
        """Whether a file is the state itself, which may lie in a folder that is posted."""
        return self.path is not None and _key(name) in (_key(str(self.path)), _key(f"{self.path}.new"))

    def begin(self, name: str) -> Mark:
        """Where to begin in a file."""
        return self.marks.get(_key(name), START)

    def give(self, items: Iterable[Item]) -> Iterator[bytes]:
        """The bodies, noting where each came from."""
        for item in items:
            self._given.append(item._replace(body=b""))
            yield item.body

    def place(self, number: int) -> Item:
        """Where a delivery came from; only of one that is not settled yet."""
        return self._given[number - self._first]

    def settle(self, number: int, *, for_good: bool) -> None:
        """A delivery was answered. Not for good: next time it is posted again, and all behind it. Raises OSError."""
        self._held = self._held or not for_good
        self._settled.add(number)
        while self._given and self._first in self._settled:
            self._settled.remove(self._first)
            item = self._given.popleft()
            self._first += 1
            if not self._held and self.path is not None:
                self.marks[_key(item.name)] = Mark(item.line, item.digest)
        if time.monotonic() > self._saved_at + SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Write the state, whole or not at all. Raises OSError."""
        if self.path is None:
            return
        files = {name: {"line": mark.line, "digest": mark.digest.hex()} for name, mark in self.marks.items()}
        new = self.path.with_name(f"{self.path.name}.new")
        with new.open("w", encoding="utf-8") as file:
            json.dump({"version": VERSION, "url": self.url, "files": files}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
        self._saved_at = time.monotonic()


def _key(name: str) -> str:
    return str(Path(name).resolve())


def _opened(name: str) -> IO[bytes]:
    if name.endswith(".gz"):
        return gzip.open(name, "rb")  # type: ignore[return-value] # it reads bytes
    if name == "-":  # not sys.stdin: at its end Python closes that, and aborts while a thread still reads from it
        return open(0, "rb", closefd=False)
    return open(name, "rb")


def _is_json(row: bytes) -> bool:
    try:
        json.loads(row)
    except (ValueError, RecursionError):
        return False
    return True
