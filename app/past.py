"""What a topic holds at this moment, read once from start to end: for replays.

Its rules: the ends are those of the start, so that what is written meanwhile, by the replay itself too, is not read;
only committed records; nothing is committed, so reading changes nothing; what Kafka deletes before it is read (its time
is over, and reading is slow) is counted. It blocks: it belongs on a thread.
"""

import time
from collections.abc import Iterator
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from app.cluster import (
    ANSWER_WITHIN_S,
    ONLOOKER,
    POLL_S,
    ClusterError,
    Errors,
    ask,
    begin_at,
    connect,
    look,
    refuse_lost,
)
from schemas.settings import Settings

BATCH: Final = 64  # raw bodies may be a megabyte each
#: How much earlier than asked for reading begins: Kafka's clock, which finds the place, may not be the receiver's.
MARGIN_MS: Final = 10 * 60 * 1000
OWN: Final = {
    "group_id": "phonon-events-replay",
    "queued_max_messages_kbytes": "16384",
    "auto_offset_reset": "error",  # we are told of what was deleted
}


class Past:
    """One topic, from about `since_ms` (Kafka's timestamps; None: its beginning) to its present end."""

    def __init__(self, settings: Settings, topic: str, *, since_ms: int | None, way_out: str) -> None:
        self.deleted = 0
        self._topic = topic
        self._errors = Errors(settings.kafka["bootstrap.servers"])
        self._consumer = connect(Consumer, settings.kafka, self._errors, **ONLOOKER | OWN)
        try:
            places = self._places(topic, way_out)
            self._ends = ask(self._consumer, self._errors, lambda: self._begin(places, since_ms))
        except BaseException:
            self._consumer.close()
            raise
        places = [place for place in places if place.partition in self._ends]
        self._next = {place.partition: place.offset for place in places}
        self.total = sum(self._ends[partition] - begin for partition, begin in self._next.items())
        self._consumer.assign(places)

    def _places(self, topic: str, way_out: str) -> list[TopicPartition]:
        found = look(self._consumer, self._errors).topics.get(topic)
        if found is None or found.error is not None:
            raise ClusterError(f"no topic {topic} on this Kafka: {way_out}")
        return [TopicPartition(topic, partition) for partition in found.partitions]

    def _begin(self, places: list[TopicPartition], since_ms: int | None) -> dict[int, int]:
        """Sets where each partition begins; the end of each that holds anything from there on."""
        marks = {p.partition: self._consumer.get_watermark_offsets(p, timeout=ANSWER_WITHIN_S) for p in places}
        for place in places:
            place.offset = marks[place.partition][0 if since_ms is None else 1]
        if since_ms is not None:
            begin_at(self._consumer, places, since_ms - MARGIN_MS)
        return {p.partition: marks[p.partition][1] for p in places if p.offset < marks[p.partition][1]}

    def batch(self) -> list[Message]:
        """The next records; none at the end. Raises ClusterError."""
        silent_s = 0.0
        while self._ends:
            asked, partitions = time.monotonic(), len(self._ends)
            found = self._consumer.consume(BATCH, POLL_S)
            if wanted := [message for message in found if self._is_wanted(message)]:
                return wanted
            # what others write to a partition that was read to its end is no sign of life from the rest
            waited = time.monotonic() - asked if found else POLL_S
            silent_s = silent_s + waited if len(self._ends) == partitions else 0.0
            if silent_s > ANSWER_WITHIN_S:
                raise ClusterError(f"Kafka at {self._errors.servers} fell silent: {self._errors.reason or 'no reason'}")
        return []

    def _is_wanted(self, message: Message) -> bool:
        """Whether it lies before the end; notes the end of a partition."""
        error: Any = message.error()
        partition, offset = int(message.partition() or 0), int(message.offset() or 0)
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._ends.pop(partition, None)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                self._pass_over(partition)
            refuse_lost(message)
            return False
        self._next[partition] = offset + 1
        end = self._ends.get(partition, -1)
        if offset + 1 >= end:
            self._ends.pop(partition, None)
        return offset < end

    def _pass_over(self, partition: int) -> None:
        """Go on where a partition begins by now: what stood before that was deleted. Raises ClusterError."""
        place = TopicPartition(self._topic, partition)
        begin, _ = ask(
            self._consumer, self._errors, lambda: self._consumer.get_watermark_offsets(place, timeout=ANSWER_WITHIN_S)
        )
        end = self._ends.get(partition, begin)
        self.deleted += max(min(begin, end) - self._next[partition], 0)
        self._next[partition] = place.offset = begin
        self._consumer.incremental_unassign([place])
        if begin < end:
            self._consumer.incremental_assign([place])
        else:
            self._ends.pop(partition, None)

    def __iter__(self) -> Iterator[Message]:
        """All records in turn."""
        while batch := self.batch():
            yield from batch

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()
