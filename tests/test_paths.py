"""paths: a number stands for a path, and the tree adds up."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.paths import CHOICES, LEFT, MOST_NODES, PATH, Node, nodes, number, tallied, text

PATHS = st.lists(st.sampled_from(CHOICES), min_size=1, max_size=3).map(">".join)


@given(PATHS)
def test_text_undoes_number(path: str) -> None:
    assert text(number(path.encode())) == path
    assert PATH < number(path.encode()) < PATH + LEFT


@pytest.mark.parametrize(
    ("path", "stored"), [("1", 8194), ("0>9>#", 11_425), ("*>data>other", 11_995), ("key>key", 8447)]
)
def test_numbers_are_those_that_the_changelog_holds(path: str, stored: int) -> None:
    """Written down once more: with others, state that was kept would be read as other paths, or as bins."""
    assert (number(path.encode()), text(stored)) == (stored, path)
    assert nodes([(stored, 2), (stored | 4096, 1), (383, 9)])[-1] == Node(path, 3, 1)


@pytest.mark.parametrize(
    ("foreign", "read"), [("A", "other"), ("", "other"), ("1>12>3", "1>other>3"), ("1>2>3>4", "1>2>3")]
)
def test_what_no_receiver_writes_is_another_choice(foreign: str, read: str) -> None:
    assert text(number(foreign.encode())) == read


@given(st.lists(st.tuples(PATHS, st.booleans()), max_size=60))
def test_a_node_holds_all_that_came_by(flows: list[tuple[str, bool]]) -> None:
    counted = Counter(number(path.encode()) | (LEFT if left else 0) for path, left in flows)
    found = nodes(counted.items())
    assert found == sorted(found, key=lambda node: (-node.flows, node.path))
    for node in found:
        came_by = [path for path, _ in flows if (path + ">").startswith(node.path + ">")]
        assert node == Node(node.path, len(came_by), flows.count((node.path, True)))
    assert {node.path for node in found} >= {path for path, _ in flows} or len(found) == MOST_NODES


@given(st.lists(st.tuples(PATHS, st.booleans()), max_size=30))
def test_flows_undo_nodes(flows: list[tuple[str, bool]]) -> None:
    counted = Counter(number(path.encode()) | (LEFT if left else 0) for path, left in flows)
    assert dict(tallied(nodes(counted.items()))) == counted


def test_the_least_used_are_left_out() -> None:
    found = nodes(
        [(number(f"{a}>{b}>{c}".encode()), 1 + (a == 1)) for a in range(9) for b in range(9) for c in range(9)]
    )
    assert len(found) == MOST_NODES
    assert found[0] == Node("1", 162, 0)
