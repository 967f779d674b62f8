"""The topics on the cluster: made as the contract's table says, and compared with it.

`create_topics` only ever does what loses nothing: it makes what is missing, raises limits that are too low, and sets
how a topic is cleaned. What it can't mend (partition and replica counts: keys would move, data would have to be copied)
is an error in one line: with other partition counts a DID's calls and metrics part ways.
The topic of the workers' state is theirs to make; where it exists it is looked at too, because a state that is deleted
like events is gone at the next start.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public, but not exported by its stubs
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from app.cluster import ANSWER_WITHIN_S, PAUSE_S, ClusterError, Errors, ask, connect, look
from schemas.settings import Settings
from schemas.topics import COMPACTED, TIDY, changelog_name, topic_config, topics_by_name

#: Limits of which more than needed is as good; -1 is "no limit".
AT_LEAST: Final = ("max.message.bytes", "min.insync.replicas", "retention.ms")
UNLIMITED: Final = -1
NOT_MENDED: Final = ("partitions", "replication")
#: How a cluster refuses a topic's settings.
NOT_ITS_SETTINGS: Final = (KafkaError.INVALID_CONFIG, KafkaError.POLICY_VIOLATION)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing about a topic that is not as needed."""

    topic: str
    what: str
    needed: str
    found: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, needed {self.needed}"


class Cluster:
    """The topics of one prefix on one cluster."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._errors = Errors(settings.kafka["bootstrap.servers"])
        self._admin = connect(AdminClient, settings.kafka, self._errors)
        self._topics = topics_by_name(settings.topic_prefix, raw=settings.raw_topic)
        self._changelog = changelog_name(settings.topic_prefix)

    def check(self) -> list[Difference]:
        """What exists, against what is needed."""
        found = look(self._admin, self._errors).topics
        names = (*self._topics, self._changelog)
        present = [name for name in names if name in found and found[name].error is None]
        configs = self._configs(present)
        differences: list[Difference] = []
        for name in names:
            if name in configs:
                differences += self._counts(name, found[name].partitions)
                differences += _config_differences(name, self._needed(name), configs[name])
            elif name in self._topics:
                differences.append(Difference(name, "topic", "present", "missing"))
        return differences

    def create(self) -> list[Difference]:
        """Makes and mends what can be; returns the differences that it found and mended."""
        missing = [d for d in self.check() if d.what == "topic"]
        self._make([d.topic for d in missing])
        found = self.check_until(lambda d: d.what != "topic")
        settings = [d for d in found if d.what in self._needed(d.topic)]
        self._set(settings)
        return missing + settings

    def check_until(self, settled: Callable[[Difference], bool]) -> list[Difference]:
        """What `check` finds once brokers have told each other what was done, or too late."""
        deadline = time.monotonic() + ANSWER_WITHIN_S
        found = self.check()
        while not all(map(settled, found)) and time.monotonic() < deadline:
            time.sleep(PAUSE_S)
            found = self.check()
        return found

    def _needed(self, name: str) -> Mapping[str, str]:
        topic = self._topics.get(name)
        if topic is None:
            return COMPACTED  # the workers' state: all else about it is theirs
        return topic_config(topic, self._settings.max_body_bytes, self._settings.topic_replication)

    def _counts(self, name: str, partitions: Any) -> Iterable[Difference]:
        if len(partitions) != self._settings.topic_partitions:
            yield Difference(name, "partitions", str(self._settings.topic_partitions), str(len(partitions)))
        replicas = min(len(partition.replicas) for partition in partitions.values())
        if replicas < self._settings.topic_replication:
            yield Difference(name, "replication", str(self._settings.topic_replication), str(replicas))
        for number, partition in sorted(partitions.items()):
            if partition.leader < 0:
                yield Difference(name, f"the leader of partition {number}", "a broker", "none")

    def _configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        answers = self._admin.describe_configs(resources, request_timeout=ANSWER_WITHIN_S)
        described = {resource.name: self._ask(partial(_described, future)) for resource, future in answers.items()}
        return {name: entries for name, entries in described.items() if entries is not None}

    def _make(self, names: list[str]) -> None:
        """Make topics; compacted ones with TIDY, or without where the cluster refuses that."""
        tidy = [name for name in names if self._topics[name].compacted]
        left = [name for name in names if name not in tidy]
        left += [name for name, future in self._start(tidy, TIDY).items() if not self._ask(partial(_made, future))]
        for future in self._start(left, {}).values():
            if not self._ask(partial(_made, future)):
                self._ask(future.result)

    def _start(self, names: list[str], beside: Mapping[str, str]) -> dict[str, Any]:
        """The future of each topic, made with what it needs and with these settings beside that."""
        partitions, replicas = self._settings.topic_partitions, self._settings.topic_replication
        new = [NewTopic(name, partitions, replicas, config={**self._needed(name), **beside}) for name in names]
        if not new:
            return {}
        futures: dict[str, Any] = self._admin.create_topics(
            new, operation_timeout=ANSWER_WITHIN_S, request_timeout=2 * ANSWER_WITHIN_S
        )
        return futures

    def _set(self, differences: list[Difference]) -> None:
        entries: dict[str, list[ConfigEntry]] = {}
        for d in differences:
            entry = ConfigEntry(d.what, d.needed, incremental_operation=AlterConfigOpType.SET)
            entries.setdefault(d.topic, []).append(entry)
        if not entries:
            return
        resources = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=e) for name, e in entries.items()]
        for future in self._admin.incremental_alter_configs(resources, request_timeout=ANSWER_WITHIN_S).values():
            self._ask(future.result)

    def _ask(self, question: Any) -> Any:
        return ask(self._admin, self._errors, question)


def check_topics(settings: Settings) -> list[Difference]:
    """What about the topics is not as these settings need it; empty: all is well. Raises ClusterError."""
    return Cluster(settings).check()


def create_topics(settings: Settings) -> list[Difference]:
    """Makes the topics or mends them where that is safe; returns what it did. Raises ClusterError for the rest."""
    cluster = Cluster(settings)
    mended = cluster.create()
    left = cluster.check_until(lambda d: d.what in NOT_MENDED)
    if left:
        also = f" (and {len(left) - 1} more: topics check lists them)" if len(left) > 1 else ""
        why = ": not to be changed without moving data" if left[0].what in NOT_MENDED else ", still"
        raise ClusterError(f"{left[0]}{why}{also}")
    return mended


def _described(future: Any) -> dict[str, str] | None:
    """A topic's settings; None where the broker that was asked has not heard of the topic yet."""
    try:
        return {entry.name: entry.value for entry in future.result().values()}
    except KafkaException as failure:
        if failure.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise


def _made(future: Any) -> bool:
    """Waits for a topic to be made; that somebody else was quicker is as good. False where its settings are refused."""
    try:
        future.result()
    except KafkaException as failure:
        if failure.args[0].code() in NOT_ITS_SETTINGS:
            return False
        if failure.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    return True


def _config_differences(name: str, needed: Mapping[str, str], found: dict[str, str]) -> Iterable[Difference]:
    for what, value in needed.items():
        present = found.get(what, "")
        if present != value and not (what in AT_LEAST and _enough(present, value)):
            yield Difference(name, what, value, present or "not set")


def _enough(found: str, needed: str) -> bool:
    return found.lstrip("-").isdigit() and (int(found) >= int(needed) or int(found) == UNLIMITED)
