"""One address: posts what waits for it, a few messages at once, and settles each by its answer. It holds up no other.

Nothing of the address is logged but its host: path and query may be a token. Answers are not read beyond their status,
redirects are not followed, cookies are not kept.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiohttp
from yarl import URL

from app.credentials import signed
from app.notify import measures
from app.notify.answers import NO_ANSWER, Verdict, pause_seconds, rest_seconds, verdict
from app.notify.lane import Lane, Waiting
from app.notify.notification import Notification
from app.notify.progress import Arrived
from schemas.userinfo import basic, parted

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 15.0
AT_ONCE: Final = 4
#: Further ones are given up: other addresses need the memory.
MOST_WAITING: Final = 50_000
HEADERS: Final = {"content-type": "application/json", "user-agent": "phonon-events"}


def session() -> aiohttp.ClientSession:
    """The connections of all addresses."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=HEADERS,
    )


class Address:
    """One address; `settle` is told of each message that it has got, or never will."""

    def __init__(self, url: str, name: str, keys: Sequence[bytes], settle: Callable[[Arrived], None]) -> None:
        self.name = name
        self.lane = Lane()
        self.stopping = False
        bare, user = parted(url)
        self._url, self._keys, self._settle = URL(bare), keys, settle
        self._authorization = {} if user is None else {"authorization": basic(user)}
        self._news = asyncio.Event()
        self._under_way = 0
        self._well = True
        for counter in (measures.SENT, measures.FAILED, measures.GIVEN_UP):
            counter.labels(name)  # counts from 0

    def begin(self) -> None:
        """Forget what waits: another process sends it now. The rest that the address asked for goes on."""
        self.lane = Lane(self.lane.rest_until)

    def add(self, arrived: Arrived) -> None:
        """Take a message to send."""
        if self.lane.waiting >= MOST_WAITING:
            self._give_up(arrived, "too many wait", 0)
        else:
            self.lane.add(arrived, time.monotonic())
            self._news.set()

    def stop(self) -> None:
        """Begin no more tries."""
        self.stopping = True
        self._news.set()

    async def run(self, http: aiohttp.ClientSession) -> None:
        """Post what is due, until stopped; what is under way then is waited for."""
        async with asyncio.TaskGroup() as tries:
            while not self.stopping:
                self._news.clear()
                while self._under_way < AT_ONCE and (waiting := self.lane.take(time.monotonic())):
                    self._under_way += 1
                    tries.create_task(self._try(http, self.lane, waiting))
                seconds = self.lane.seconds(time.monotonic()) if self._under_way < AT_ONCE else None
                try:
                    await asyncio.wait_for(self._news.wait(), seconds)
                except TimeoutError:
                    pass

    async def _try(self, http: aiohttp.ClientSession, lane: Lane, waiting: Waiting) -> None:
        """Post one message, and deal with the answer."""
        arrived = waiting.arrived
        waiting.tries += 1
        status, rest = await self._post(http, arrived.notification)
        outcome, now = verdict(status, round(time.time() * 1000) - arrived.notification.written_at), time.monotonic()
        self._under_way -= 1
        self._news.set()
        self._tell(status)
        if outcome is Verdict.LATER:
            self.lane.rest_until = max(self.lane.rest_until, now + rest)
            lane.postpone(waiting, now + pause_seconds(waiting.tries, random.random()))  # noqa: S311 - no secret
            return
        lane.settle(waiting, now)
        if outcome is Verdict.SENT:
            measures.SENT.labels(self.name).inc()
            log.info("alert sent", extra={"fields": self._fields(arrived.notification, status, waiting.tries)})
            self._settle(arrived)
        else:
            self._give_up(arrived, status, waiting.tries)

    async def _post(self, http: aiohttp.ClientSession, notification: Notification) -> tuple[int, float]:
        """The answer's status, and for how long it asks to be left alone."""
        now = time.time()
        headers = {"webhook-id": notification.id, "webhook-timestamp": str(int(now))}
        if self._keys:
            headers = signed(self._keys, notification.id, notification.body, now=int(now))
        headers |= self._authorization
        try:
            post = http.post(self._url, data=notification.body, headers=headers, allow_redirects=False)
            async with post as answer:
                return answer.status, rest_seconds(answer.headers.get("retry-after", ""), time.time())
        except (aiohttp.ClientError, TimeoutError, OSError) as failure:
            log.debug("no answer", extra={"fields": {"address": self.name, "why": type(failure).__name__}})
            return NO_ANSWER, 0.0

    def _tell(self, status: int) -> None:
        """Say it when the address begins to fail, and when it is well again."""
        well = 200 <= status < 300
        if not well:
            measures.FAILED.labels(self.name).inc()
        if well != self._well:
            self._well = well
            level = logging.INFO if well else logging.WARNING
            text = "address takes alerts again" if well else "address does not take alerts"
            log.log(level, text, extra={"fields": {"address": self.name, "status": status or "no answer"}})

    def _give_up(self, arrived: Arrived, status: int | str, tries: int) -> None:
        measures.GIVEN_UP.labels(self.name).inc()
        fields = self._fields(arrived.notification, status or "no answer", tries)
        log.warning("alert given up", extra={"fields": fields})
        self._settle(arrived)

    def _fields(self, notification: Notification, status: int | str, tries: int) -> dict[str, Any]:
        """What a log line says of a message: no DID, no figure."""
        said = {"alert_id": notification.alert_id, "rule": notification.rule, "state": notification.state}
        return said | {"address": self.name, "status": status, "tries": tries}
