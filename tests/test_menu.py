"""menu: choices are told, what looks like a number being typed never is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.menu import DATA, OTHER, Press, path

PATHS: dict[str, tuple[list[tuple[str, int | None]], list[str]]] = {
    "nothing": ([], []),
    "one choice": ([("1", 0)], ["1"]),
    "three and no more": ([("1", 0), ("2", 5000), ("*", 9000), ("4", 20_000)], ["1", "2", "*"]),
    "three at once are choices": ([("1", 0), ("2", 100), ("3", 200)], ["1", "2", "3"]),
    "four at once are data": ([("1", 0), ("2", 1500), ("3", 3000), ("4", 4500)], [DATA]),
    "slower by a ms they are choices": ([("1", 0), ("2", 1501), ("3", 3002), ("4", 4503)], ["1", "2", "3"]),
    "a choice, a number, a choice": (
        [("1", 0), *[(key, 9000 + n * 300) for n, key in enumerate("48291#")], ("2", 30_000)],
        ["1", DATA, "2"],
    ),
    "a text of four is data": ([("1234", 0)], [DATA]),
    "a short text is another": ([("A", 0), ("12", 9000)], [OTHER, OTHER]),
    "keys without times are typed at once": ([("1", None), ("2", None), ("3", None), ("4", None)], [DATA]),
    "one without a time belongs to the one before": ([("1", 0), ("2", None), ("3", 9000)], ["1", "2", "3"]),
}


@pytest.mark.parametrize("case", PATHS)
def test_paths(case: str) -> None:
    presses, expected = PATHS[case]
    assert path([Press(*press) for press in presses]) == expected


@given(st.lists(st.tuples(st.text("0123456789*#A", max_size=5), st.none() | st.integers(0, 20_000)), max_size=12))
def test_no_run_of_four_is_ever_told(presses: list[tuple[str, int | None]]) -> None:
    """Of any four keys in a row, each within 1.5 s of the one before, none is told as a key."""
    ordered = sorted([Press(key, at) for key, at in presses if at is not None and key], key=lambda press: press[1] or 0)
    told = path(ordered)
    assert len(told) <= 3
    typed = {
        n
        for begin in range(len(ordered) - 3)
        if all((ordered[n + 1].at or 0) - (ordered[n].at or 0) <= 1500 for n in range(begin, begin + 3))
        for n in range(begin, begin + 4)
    }
    choices = [press.key for n, press in enumerate(ordered) if n not in typed and press.key in set("0123456789*#")]
    keys = [key for key in told if key not in (DATA, OTHER)]
    assert keys == choices[: len(keys)]
