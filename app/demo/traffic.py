"""Gentle synthetic traffic for the demo: `python -m app.demo.traffic RATE SEED` posts until it is stopped.

First the calls of the last hour, so that the table is not empty, then new ones as they end. The receiver is the one of
our settings, credentials included. The DID of the provider's sample is left out, with what has no DID (they share a
partition of the default eight): the sample is from 2022, and only where no newer call moves the clock can it be seen.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from app.demo.provider import Delivery, SyntheticProvider
from app.send import Sender, Unreachable, default_url
from schemas.env_file import read_env_file
from schemas.settings import read_settings

DIDS = 8
PAST_CALLS = 200
LEFT_OUT = ("+912243692987", "unknown")
KEPT = 0.58  # of all calls, once these are left out
PAST = timedelta(hours=1)


def bodies(rate: float, seed: int, now: datetime) -> Iterator[bytes]:
    """Yield deliveries; `rate` new calls a second when their time has come, so it sleeps in between."""
    past = SyntheticProvider(seed, start=now - PAST, dids=DIDS).backlog(PAST_CALLS, until=now)
    coming = SyntheticProvider(seed + 1, start=now, dids=DIDS, rate=rate / KEPT).deliveries()
    for delivery in filter(wanted, past):
        yield delivery.body
    for delivery in filter(wanted, coming):
        time.sleep(max(0.0, delivery.at.timestamp() - time.time()))
        yield delivery.body


def wanted(delivery: Delivery) -> bool:
    """Tell whether nothing of it is for the DIDs left out."""
    return all(expected.fields.get("did") not in LEFT_OUT for expected in delivery.expected)


def main(rate: float, seed: int) -> None:
    """Post until something ends us."""
    settings = read_settings(os.environ, read_env_file())
    sender = Sender(settings, default_url(settings))
    try:
        asyncio.run(sender.send(bodies(rate, seed, datetime.now(UTC)), concurrency=4))
    except Unreachable as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
