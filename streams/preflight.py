"""What must be there before the first record is read: a broker that answers, the topics, and the state's log.

A broker or topic that is missing is waited for, with a line now and then; what waiting can't mend is `Unfit`.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

log = logging.getLogger("streams.preflight")

SAY_EVERY: Final = 10  # tries between two lines
PAUSE_SECONDS: Final = 1.0

CHANGELOG_CONFIG: Final = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.1",
    "segment.ms": "600000",
    "max.compaction.lag.ms": "3600000",
    "delete.retention.ms": "3600000",
}


class Unfit(Exception):  # noqa: N818 - it names the state of things
    """The topics can't be worked on as they are; the text is one line that says why."""


class Needed(NamedTuple):
    """The topics a worker reads and writes, and how the changelog is made."""

    source: str
    written: tuple[str, ...]
    changelog: str
    replication: int


async def prepare(connection: dict[str, Any], needed: Needed, *, stopping: Callable[[], bool]) -> None:
    """Wait until all is there, and make the changelog where it is missing. Raises Unfit."""
    tries = 0
    while not stopping():
        trouble = await _try(connection, needed)
        if trouble is None:
            return
        if tries % SAY_EVERY == 0:
            log.warning("waiting: %s", trouble)
        tries += 1
        await asyncio.sleep(PAUSE_SECONDS)


async def _try(connection: dict[str, Any], needed: Needed) -> str | None:
    admin = AIOKafkaAdminClient(**connection, request_timeout_ms=5000)
    try:
        await admin.start()
        return await _check(admin, needed)
    except (KafkaError, OSError, TimeoutError) as error:
        return f"no answer from Kafka at {','.join(connection['bootstrap_servers'])} ({type(error).__name__})"
    finally:
        await admin.close()


async def _check(admin: AIOKafkaAdminClient, needed: Needed) -> str | None:
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    for topic in (needed.source, *needed.written):
        if topic not in partitions:
            return f"topic {topic} is missing; `phonon-events topics create` makes it"
    number = partitions[needed.source]
    for topic in (*needed.written[:1], needed.changelog):
        if partitions.get(topic, number) != number:
            raise Unfit(f"{topic} has {partitions[topic]} partitions, {needed.source} has {number}: they must agree")
    if needed.changelog not in partitions:
        await _create(admin, needed, number)
    return None


async def _create(admin: AIOKafkaAdminClient, needed: Needed, partitions: int) -> None:
    new = NewTopic(needed.changelog, partitions, needed.replication, topic_configs=CHANGELOG_CONFIG)
    answer = await admin.create_topics([new])
    for _, code, *_ in answer.topic_errors:
        if code and for_code(code) is not TopicAlreadyExistsError:
            raise for_code(code)(f"{needed.changelog} could not be made")
