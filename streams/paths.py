"""What callers chose in the voice menu, as numbers to count by, and the tree that these make. Pure.

A path is at most DEPTH choices out of CHOICES, so that there are never more than a few thousand paths. Its number has
four bits a choice, the first lowest, one for a caller who left without an agent, and one that no number of a bin has.
"""

from collections.abc import Iterable
from functools import cache
from typing import Final, NamedTuple

from schemas.memo import Memo

DEPTH: Final = 3
CHOICES: Final = (*"0123456789*#", "data", "other", "key")
SEPARATOR: Final = ">"
MOST_NODES: Final = 100
LEFT_BIT: Final = 4 * DEPTH
LEFT: Final = 1 << LEFT_BIT
PATH: Final = 1 << LEFT_BIT + 1

_NUMBER: Final = {choice.encode(): n for n, choice in enumerate(CHOICES, start=1)}
_OTHER: Final = _NUMBER[b"other"]
_PREFIXES: Final = [PATH | (1 << 4 * depth) - 1 for depth in range(1, DEPTH + 1)]


class Node(NamedTuple):
    """A place in the menu: how many flows came by, and how many of these ended there without an agent."""

    path: str
    flows: int
    left: int


def number(path: bytes) -> int:
    """The number of a path."""
    choices = path.split(SEPARATOR.encode())[:DEPTH]
    return PATH | sum(_NUMBER.get(choice, _OTHER) << 4 * n for n, choice in enumerate(choices))


NUMBERS: Final = Memo(number)


@cache
def text(number: int) -> str:
    """The path of a number."""
    choices = [number >> 4 * n & 15 for n in range(DEPTH)]
    return SEPARATOR.join([CHOICES[choice - 1] for choice in choices if choice])


def tallied(nodes: Iterable[Node]) -> list[tuple[int, int]]:
    """How many flows took each path: `nodes` undone, but for the places that were left out."""
    passed = {NUMBERS[node.path.encode()]: node for node in nodes}
    ended = {end: node.flows - node.left for end, node in passed.items()}
    for end, node in passed.items():
        parent = _nodes_on(end)[-2:-1]
        if parent:
            ended[parent[0]] -= node.flows
    left = [(end | LEFT, node.left) for end, node in passed.items()]
    return [(path, flows) for path, flows in (*ended.items(), *left) if flows > 0]


@cache
def _nodes_on(path: int) -> tuple[int, ...]:
    """The places that a path comes by; the last is its end."""
    return tuple(dict.fromkeys([path & mask for mask in _PREFIXES]))


def nodes(tallies: Iterable[tuple[int, int]]) -> list[Node]:
    """The most used places of the menu, busiest first, from how many flows took each path. Bins are passed over."""
    passed: dict[int, int] = {}
    left: dict[int, int] = {}
    for path, flows in tallies:
        if path < PATH:
            continue
        if path & LEFT:
            left[path & ~LEFT] = flows
        for node in _nodes_on(path & ~LEFT):
            passed[node] = passed.get(node, 0) + flows
    found = [Node(text(node), flows, left.get(node, 0)) for node, flows in passed.items()]
    return sorted(found, key=lambda node: (-node.flows, node.path))[:MOST_NODES]
