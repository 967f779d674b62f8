"""What waits for one address: each alert's messages in order, each alert at a time of its own. Pure.

Only the first message of an alert is ever due, so a RESOLVED never overtakes its FIRING; an alert that is tried again
and again holds up no other. An address that asked to be left alone is left alone as a whole.
"""

import heapq
from collections import deque
from dataclasses import dataclass

from app.notify.progress import Arrived


@dataclass(slots=True)
class Waiting:
    """A message on its way to one address, and how often it was tried."""

    arrived: Arrived
    tries: int = 0


class Lane:
    """The messages of one address. Times are seconds of one clock."""

    def __init__(self, rest_until: float = 0.0) -> None:
        self.waiting = 0
        self.rest_until = rest_until
        self._queues: dict[str, deque[Waiting]] = {}
        self._due: list[tuple[float, int, str]] = []
        self._pushed = 0

    def add(self, arrived: Arrived, now: float) -> None:
        """Take a message; it is due once all before it of its alert are settled."""
        alert_id = arrived.notification.alert_id
        queue = self._queues.setdefault(alert_id, deque())
        queue.append(Waiting(arrived))
        self.waiting += 1
        if len(queue) == 1:
            self._push(alert_id, now)

    def take(self, now: float) -> Waiting | None:
        """The message that has been due for longest; it is out until it is settled or postponed."""
        if self.seconds(now) != 0:
            return None
        return self._queues[heapq.heappop(self._due)[2]][0]

    def seconds(self, now: float) -> float | None:
        """How long until one is due; None where none will be without being settled or postponed."""
        return max(self._due[0][0] - now, self.rest_until - now, 0.0) if self._due else None

    def settle(self, waiting: Waiting, now: float) -> None:
        """It is sent or given up: the next one of its alert is due."""
        alert_id = waiting.arrived.notification.alert_id
        queue = self._queues[alert_id]
        queue.popleft()
        self.waiting -= 1
        if queue:
            self._push(alert_id, now)
        else:
            del self._queues[alert_id]

    def postpone(self, waiting: Waiting, until: float) -> None:
        """Try it again at that time."""
        self._push(waiting.arrived.notification.alert_id, until)

    def oldest(self) -> int | None:
        """When Kafka got the oldest record that waits, ms; None where none does."""
        firsts = (queue[0].arrived.notification.written_at for queue in self._queues.values())
        return min(firsts, default=None)

    def _push(self, alert_id: str, at: float) -> None:
        self._pushed += 1
        heapq.heappush(self._due, (at, self._pushed, alert_id))
