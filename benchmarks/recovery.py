"""How soon metrics are there: after a worker's start and after a kill -9 with 50,000 DIDs of state, and after a flow.

    python -m benchmarks.recovery [--dids 50000] [--rate 500] [--seconds 20]

Times of recovery are by the wall clock, those from a flow to its DID's first metrics by Kafka's timestamps.
"""

import argparse
import os
import random
import time
import uuid

from confluent_kafka import Consumer, Producer

from app.demo.broker import broker
from benchmarks.backlog import PARTITIONS, figures, fill, flow_record, running, topics_of, wait
from benchmarks.report import as_table, console
from schemas import encoder
from schemas.topics import topic_name

Rows = list[tuple[str, ...]]


def main() -> None:
    """Run and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--dids", type=int, default=50_000)
    options.add_argument("--rate", type=int, default=500)
    options.add_argument("--seconds", type=int, default=20)
    given = options.parse_args()
    with broker(say=lambda _: None, real_only=True) as kafka:
        rows = recovered(kafka.bootstrap_servers, given.dids)
        rows += first_metrics(kafka.bootstrap_servers, given.rate, given.seconds)
    shown = console()
    shown.print(as_table(f"With {given.dids:,} DIDs; {given.rate} flows a second", ("what", "seconds"), rows))
    shown.print(f"load average {os.getloadavg()[0]:.1f}")


def recovered(servers: str, dids: int) -> Rows:
    """From a worker's start, and from the kill -9 of one of two, until all partitions are live."""
    prefix = topics_of(servers)
    fill(servers, prefix, dids, 2 * dids)

    def live(addresses: list[str]) -> bool:
        return figures(addresses, "phonon_partitions", 'state="live"') == PARTITIONS

    with running(servers, prefix) as ([first], addresses):
        wait(lambda: figures(addresses, "phonon_flows_total") == 2 * dids)
        wait(lambda: figures(addresses, "phonon_dids_waiting") == 0)
        time.sleep(1)  # what is no longer waiting may be on its way
        first.kill()
    with running(servers, prefix, 2) as (_, addresses):  # the group waits for the dead one: a start is timed after it
        wait(lambda: live(addresses))
    begun = time.monotonic()
    with running(servers, prefix) as (_, addresses):
        wait(lambda: live(addresses))
        start = time.monotonic() - begun
        held = figures(addresses, "phonon_dids")
    with running(servers, prefix, 2) as ((_, victim), addresses):
        wait(lambda: all(figures([address], "phonon_partitions", 'state="live"') > 0 for address in addresses))
        wait(lambda: live(addresses))
        victim.kill()
        begun = time.monotonic()
        wait(lambda: live(addresses[:1]))
        takeover = time.monotonic() - begun
    return [
        (f"a worker's start until it counts, {held:,.0f} DIDs", f"{start:.1f}"),
        ("kill -9 of one of two until the other counts all", f"{takeover:.1f}"),
    ]


def first_metrics(servers: str, rate: int, seconds: int) -> Rows:
    """From a flow of a new DID to that DID's first metrics, while so many come a second."""
    prefix, rng, encode = topics_of(servers), random.Random(2), encoder("Flow")
    flow_topic, metrics_topic = (topic_name(prefix, record) for record in ("Flow", "DidMetrics"))
    producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random", "linger.ms": 5})
    with running(servers, prefix) as (_, addresses):
        wait(lambda: figures(addresses, "phonon_partitions", 'state="live"') == PARTITIONS)
        begun = time.monotonic()
        for number in range(rate * seconds):
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            did = f"+9122{number:08d}"
            value = encode(flow_record(rng, did, int(time.time() * 1000), agent=number % 2 == 0))
            producer.produce(flow_topic, key=did.encode(), value=value)
            producer.poll(0)
        producer.flush()
        wait(lambda: figures(addresses, "phonon_flows_total") == rate * seconds)
        wait(lambda: figures(addresses, "phonon_dids_waiting") == 0)
    sent, first = (first_timestamps(servers, topic, rate * seconds) for topic in (flow_topic, metrics_topic))
    delays = sorted((first[key] - sent[key]) / 1000 for key in sent)
    return [
        (f"a flow until its DID's first metrics, p{percent}", f"{delays[len(delays) * percent // 100]:.2f}")
        for percent in (50, 99)
    ]


def first_timestamps(servers: str, topic: str, keys: int) -> dict[bytes, int]:
    """Kafka's timestamp of each key's first record, ms, once there are so many keys."""
    consumer = Consumer({
        "bootstrap.servers": servers, "group.id": str(uuid.uuid4()), "isolation.level": "read_committed",
        "auto.offset.reset": "earliest", "enable.auto.commit": False,
    })  # fmt: skip
    consumer.subscribe([topic])
    found: dict[bytes, int] = {}
    end = time.monotonic() + 60
    while len(found) < keys:
        if time.monotonic() > end:
            raise TimeoutError(f"{len(found)} of {keys} keys on {topic}")
        for message in consumer.consume(1000, timeout=0.5):
            key, (_, timestamp) = message.key(), message.timestamp()
            if message.error() is None and key is not None:
                found[bytes(key)] = min(timestamp, found.get(bytes(key), timestamp))
    consumer.close()
    return found


if __name__ == "__main__":
    main()
