"""The receiver's own nouns: what can become of a delivery, and what is believed of Kafka and spool.

A leaf module: webhook, drainer and management port speak of these without knowing who publishes or keeps.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.records import Record
from app.segment import Row


class Unacknowledged(Exception):  # noqa: N818 - what is known about the delivery
    """The records are not known to be in Kafka; some may be. Sending them again is harmless."""


class Unpublishable(Exception):  # noqa: N818 - what is known about the delivery
    """A record that Kafka refuses for good."""


class Full(Exception):  # noqa: N818 - it names the state
    """The disk, or the share of it that the spool may use, is full."""


class SpoolFailed(Exception):  # noqa: N818 - it names the state
    """The spool does not take what it is given, or does not give what it has, for another reason than being full."""


class State(enum.Enum):
    """What is believed of Kafka."""

    HEALTHY = "healthy"
    TRYING = "trying"  # what was spooled, or one live delivery alone, until one is acknowledged soon enough
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """What waits: deliveries, bytes of their bodies, seconds since the oldest was received; files set aside.

    `disk_bytes`: what the spool takes of the disk, with what is sent and not yet deleted.
    """

    rows: int
    bytes: int
    oldest_age_seconds: float
    damaged: int
    disk_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row that waits, and where it lies."""

    row: Row
    path: Path
    start: int


class Publishes(Protocol):
    """As much of a publisher as others need."""

    state: State

    async def publish(self, records: Sequence[Record], *, live: bool = True) -> None:
        """Returns when all are acknowledged. Raises Unacknowledged or Unpublishable."""


class Keeps(Protocol):
    """As much of a spool as a webhook needs."""

    async def keep(self, row: Row) -> None:
        """Returns when the row is on the disk to stay. Raises Full or SpoolFailed."""
