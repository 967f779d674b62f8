"""memo: it gives what the function gives, keeps no more than it may, and nothing that was raised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.memo import Memo


@given(st.lists(st.integers(0, 9)), st.integers(1, 5))
def test_it_gives_what_the_function_gives_of_so_many_at_most(keys: list[int], most: int) -> None:
    memo: Memo[int, int] = Memo(lambda key: -key, most)
    held: dict[int, int] = {}
    for key in keys:
        if key not in held and len(held) == most:
            held.clear()
        held[key] = -key
        assert (memo[key], memo) == (-key, held)


def test_what_was_raised_is_not_kept() -> None:
    memo: Memo[str, int] = Memo(int)
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            memo["x"]
    assert memo == {}
