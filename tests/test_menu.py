"""menu: choices are told, what looks like a number being typed never is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.menu import DATA, OTHER, Menu, OnLeg, Press, hidden, menu, path

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
    "those without a time belong to the first that has one": (
        [("1", None), ("2", 9000), ("3", 20_000)],
        ["1", "2", "3"],
    ),
    "so that they are data with it": ([("1", None), ("2", None), ("3", 9000), ("4", 10_500)], [DATA]),
    "one without a time belongs to the one before": ([("1", 0), ("2", None), ("3", 9000)], ["1", "2", "3"]),
}


@pytest.mark.parametrize("case", PATHS)
def test_paths(case: str) -> None:
    presses, expected = PATHS[case]
    assert path([Press(*press) for press in presses]) == expected


KEYS = st.lists(st.tuples(st.text("0123456789*#A", min_size=1, max_size=5), st.integers(0, 20_000)), max_size=12)


@given(KEYS)
def test_no_run_of_four_is_ever_told(presses: list[tuple[str, int]]) -> None:
    """A key is told only if there are not four in the neighbours that follow each other within 1.5 s."""
    ordered = [Press(*press) for press in sorted(presses, key=lambda press: press[1])]
    times = [press.at or 0 for press in ordered]

    def near(n: int) -> int:
        """How many keys are pressed with the n-th."""
        begin = end = n
        while begin > 0 and times[begin] - times[begin - 1] <= 1500:
            begin -= 1
        while end + 1 < len(times) and times[end + 1] - times[end] <= 1500:
            end += 1
        return sum(len(press.key) for press in ordered[begin : end + 1])

    told = path(ordered)
    assert len(told) <= 3
    choices = [press.key for n, press in enumerate(ordered) if near(n) < 4 and press.key in set("0123456789*#")]
    keys = [key for key in told if key not in (DATA, OTHER)]
    assert keys == choices[: len(keys)]


def test_a_flow_tells_the_visitors_choices_over_its_legs_and_how_long_they_took() -> None:
    first = OnLeg([Press("1", 3_000)], connected_at=1_000, ended_at=4_000)
    last = OnLeg([Press("2", 9_000), Press("#", 11_000)], connected_at=5_000, ended_at=20_000)
    silent = OnLeg([], connected_at=1_000, ended_at=90_000)
    assert menu([silent, first, last, silent]) == Menu("1>2>#", 2_000, 9_000)
    assert menu([silent]) == menu([]) == Menu(None, None, None)


@pytest.mark.parametrize("connected_at", [None, 4_000], ids=["never connected", "connected after the key"])
def test_a_time_that_is_not_known_or_would_be_negative_is_none(connected_at: int | None) -> None:
    assert menu([OnLeg([Press("1", 3_000)], connected_at, None)]) == Menu("1", None, None)


def test_a_hidden_path_tells_its_length_alone() -> None:
    assert hidden("1>data>#") == "key>key>key"
