"""ids: whether one that began alike was taken before, whatever the order, and however many there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import ids
from streams.ids import Ids

NUMBERS = st.lists(st.integers(0, 40), max_size=80)


def event_id(number: int) -> bytes:
    """Two ids each begin alike."""
    return (number // 2 * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big") + number.to_bytes(8, "big")


@given(NUMBERS, NUMBERS, st.sampled_from((1, 7, 4096)))
def test_ids_are_told_by_their_first_halves(before: list[int], after: list[int], many: int) -> None:
    """Restored ones, and such as came later, in one part or several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "MOST", many)
        held, known = Ids(), {number // 2 for number in before}
        held.restore([b"".join(map(event_id, before))])
        for number in after:
            assert held.put(event_id(number)) == (number // 2 not in known)
            known.add(number // 2)


def test_it_is_time_to_restore_once_most_are_gone() -> None:
    held = Ids()
    for number in range(0, 20, 2):
        held.put(event_id(number))
    held.put_too(event_id(1))
    assert (held.forget(5), held.forget(1)) == (False, True)
    held.restore([event_id(2)])
    assert (held.put(event_id(3)), held.put(event_id(4)), held.forget(1)) == (False, True, False)
