"""Errors that end a turn of work on Kafka: their words, the rest before the next turn, and whether they are news.

After any error all is read again, for as long as it takes, and an outage fails that twice a second. So each kind of
error is told once, until something was written again. The kind counts and not the text: aiokafka names the servers that
it can't reach in another order each time.
"""

import logging
from typing import Final

from aiokafka.errors import InvalidTimestampError, ProducerFenced

from schemas.refusals import WRONG_TIME
from streams.log import reason

log = logging.getLogger("streams.failures")

PAUSE_SECONDS: Final = 0.5
FENCED_PAUSE_SECONDS: Final = 3.0  # more than a heartbeat: a worker that lost the partition has then heard of it
CLOCK_PAUSE_SECONDS: Final = 10.0

#: What is said in other words than the error's own, and waits longer.
OTHERWISE: Final[dict[type[Exception], tuple[str, float]]] = {
    ProducerFenced: ("another worker took over", FENCED_PAUSE_SECONDS),
    InvalidTimestampError: (f"Kafka {WRONG_TIME}", CLOCK_PAUSE_SECONDS),
}


class Failures:
    """The errors of one task. `last`: the reason of the last one, "" once something was written again."""

    def __init__(self, whose: str) -> None:
        self.last = ""
        self._whose = whose
        self._told: set[type[Exception]] = set()

    def take(self, error: Exception) -> float:
        """Note an error, and tell it where it is news; how long to rest, s."""
        why, pause = OTHERWISE.get(type(error)) or (reason(error), PAUSE_SECONDS)
        if type(error) not in self._told:
            self._told.add(type(error))
            log.warning("%s: %s; all is read again if it is still ours", self._whose, why)
        self.last = why
        return pause

    def well(self) -> None:
        """Something was written."""
        self.last = ""
        self._told.clear()
