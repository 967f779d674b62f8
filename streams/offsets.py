"""Where a chunk of fetched records stands to what was counted: the law by which nothing is lost. Pure.

The offset that comes next is kept with the counts. Faust and Kafka may hand over chunks from anywhere (a rebalance, a
commit of another worker, a cleared queue): before it they are skipped, at it they are taken, beyond it the records
between are read again. Where a hole is really in the log (retention, a transaction's marker), reading again from the
next offset ends beyond it once more: then the hole is what the log holds, and is passed.
"""

from typing import Final, NamedTuple

SKIP: Final = "skip"  # counted already
SEEK: Final = "seek"  # records between are missing: read again from the next offset
TAKE: Final = "take"  # from the next offset on
ANEW: Final = "anew"  # the topic was made anew, or its log ends before the next offset: take it from its start


class Chunk(NamedTuple):
    """Records of one fetch of one partition, in order; `fetch` numbers the fetches of a consumer."""

    first: int
    last: int
    end: int  # the log's end at the time
    fetch: int


def judge(chunk: Chunk, *, next_offset: int | None, sought: int | None) -> str:
    """What to do with a chunk. `sought`: the last fetch begun before we sought `next_offset`, if we did.

    No next offset: nothing was ever counted, so any chunk is where the log begins for us.
    """
    if next_offset is None:
        return TAKE
    if chunk.end < next_offset:
        return ANEW
    if chunk.last < next_offset:
        return SKIP
    if chunk.first <= next_offset or (sought is not None and chunk.fetch > sought):
        return TAKE
    return SEEK
