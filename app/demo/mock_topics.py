"""Topics on librdkafka's mock cluster, which has no request for making any: it makes those that somebody asks about.

So everything that the services look for has to be asked about before they start.
"""

from confluent_kafka import Producer

from schemas.settings import Settings
from schemas.topics import changelog_name, topics_by_name


def ask_for_topics(settings: Settings) -> None:
    """Make our topics, and the worker's changelog, which it would make itself on a Kafka."""
    names = topics_by_name(settings.topic_prefix, raw=settings.raw_topic)
    asker = Producer({**settings.kafka, "allow.auto.create.topics": True})
    for name in (*names, changelog_name(settings.topic_prefix)):
        asker.list_topics(name, timeout=10)
