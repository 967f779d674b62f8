"""offsets: where a chunk stands to what was counted."""

import pytest

from streams.offsets import ANEW, SEEK, SKIP, TAKE, Chunk, judge


@pytest.mark.parametrize(
    ("chunk", "verdict"),
    [
        (Chunk(0, 99, 200), SKIP),
        (Chunk(50, 100, 200), TAKE),
        (Chunk(100, 150, 200), TAKE),
        (Chunk(101, 150, 200), SEEK),
        (Chunk(0, 20, 21), ANEW),
        (Chunk(60, 99, 100), SKIP),
    ],
    ids=["before", "overlapping", "next", "beyond", "made anew", "all of it counted"],
)
def test_judge(chunk: Chunk, verdict: str) -> None:
    assert judge(chunk, 100) == verdict
