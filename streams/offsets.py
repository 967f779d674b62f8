"""Where a chunk of fetched records stands to what was counted: the law by which nothing is lost. Pure.

The offset that comes next is kept with the counts. Faust and Kafka may hand over chunks from anywhere (a rebalance, a
commit of another worker, a cleared queue): before it they are skipped, at it they are taken, beyond it the records
between are read again, never passed. Whether a hole is really in the log (retention, a transaction's marker) only the
log itself can say: the partition asks it (`changelog.first_from`) when a second reading meets the same hole.
"""

from typing import Final, NamedTuple

SKIP: Final = "skip"  # counted already
SEEK: Final = "seek"  # records between are missing: read again from the next offset
TAKE: Final = "take"  # from the next offset on
ANEW: Final = "anew"  # the topic was made anew, its log ends before the next offset: take it


class Chunk(NamedTuple):
    """Records of one fetch of one partition, in order: their first and last offset, and the log's end at the time."""

    first: int
    last: int
    end: int


def judge(chunk: Chunk, next_offset: int) -> str:
    """What to do with a chunk."""
    if chunk.end < next_offset:
        return ANEW
    if chunk.last < next_offset:
        return SKIP
    return SEEK if chunk.first > next_offset else TAKE
