"""Posting deliveries as the provider would: each body once, again only where the answer asks for it.

A body goes out byte for byte as it stands in the file. 503 and 507 mean "later", so they are tried again after their
Retry-After, a bounded number of times; every other answer is final. A retry is the same delivery: same body, same
webhook-id. Credentials are those of the receiver's own settings, so that the two agree.
"""

import asyncio
import itertools
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, Final

import aiohttp

from app.credentials import signed, signing_keys
from app.urls import url_from_here
from schemas.settings import Settings
from schemas.userinfo import basic, parted

MOST_TRIES: Final = 6
LONGEST_PAUSE_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 30.0
LATER: Final = (503, 507)
ACCEPTED: Final = (200, 202)
#: Answers that posting the same body again would not change; others change with credentials, address or time.
FOR_GOOD: Final = (*ACCEPTED, 400, 413, 422)

Waiting = asyncio.Queue[tuple[int, bytes] | None]
Done = Callable[[int, int, str], None]


class Unreachable(Exception):  # noqa: N818 - it says what the receiver is
    """Nobody answers at the address; the text is one line."""


@dataclass(slots=True)
class Outcome:
    """What became of all deliveries."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: dict[int, list[float]] = field(default_factory=dict)
    details: dict[int, str] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    retries: int = 0

    @property
    def total(self) -> int:
        """Deliveries that got a final answer."""
        return self.statuses.total()

    @property
    def complaint(self) -> str:
        """One line on the deliveries that were not accepted; empty if all were."""
        refused = {status: number for status, number in self.statuses.items() if status not in ACCEPTED}
        if not refused:
            return ""
        reasons = "; ".join(f"{status}: {self.details[status] or 'no reason given'}" for status in sorted(refused))
        return f"{sum(refused.values())} of {self.total} deliveries not accepted; {reasons}"

    def add(self, status: int, seconds: float, answer: dict[str, Any]) -> None:
        """Counts one delivery's final answer."""
        self.statuses[status] += 1
        self.seconds.setdefault(status, []).append(seconds)
        if status in ACCEPTED:
            events = answer.get("events")
            if isinstance(events, dict):  # whoever answered
                self.events.update({kind: number for kind, number in events.items() if isinstance(number, int)})
        else:
            self.details.setdefault(status, said(answer))


def said(answer: dict[str, Any]) -> str:
    """The words of an answer that tells a problem."""
    return str(answer.get("detail") or answer.get("title") or "")


def default_url(settings: Settings) -> str:
    """Where a receiver with these settings listens, seen from this machine."""
    return url_from_here(settings.host, settings.port, settings.webhook_path)


class Sender:
    """One way to the receiver: its address and credentials; a user:password in the address goes before the setting."""

    def __init__(self, settings: Settings, url: str) -> None:
        url, user = parted(url)
        user = user or settings.basic_auth
        both = user is not None and settings.token is not None
        self._url = f"{url.rstrip('/')}/{settings.token}" if both else url
        self.shown_url = url
        self._headers = {"content-type": "application/json"}
        if user is not None:
            self._headers["authorization"] = basic(user)
        elif settings.token is not None:
            self._headers["authorization"] = f"Bearer {settings.token}"
        self._keys = signing_keys("PHONON_SIGNING_SECRET", settings.signing_secret)
        self.outcome = Outcome()

    async def send(
        self,
        bodies: Iterable[bytes],
        *,
        concurrency: int = 16,
        rate: float | None = None,
        done: Done = lambda _number, _status, _detail: None,
    ) -> Outcome:
        """Posts all bodies, at most `concurrency` at once and `rate` a second. Raises Unreachable.

        `done` is told of each final answer: the body's number from 0, the status, and the answer's words.
        """
        waiting: Waiting = asyncio.Queue(2 * concurrency)
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=concurrency)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            try:
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(concurrency):
                        tasks.create_task(self._work(session, waiting, done))
                    await _feed(bodies, waiting, concurrency, rate)
            except* Unreachable as failures:
                raise Unreachable(str(failures.exceptions[0])) from None
            except* OSError as failures:  # from `done`
                raise failures.exceptions[0] from None
        return self.outcome

    async def _work(self, session: aiohttp.ClientSession, waiting: Waiting, done: Done) -> None:
        while (given := await waiting.get()) is not None:
            begun, (number, body) = time.monotonic(), given
            status, answer = await self._post_until_final(session, body)
            self.outcome.add(status, time.monotonic() - begun, answer)
            done(number, status, said(answer))

    async def _post_until_final(self, session: aiohttp.ClientSession, body: bytes) -> tuple[int, dict[str, Any]]:
        message_id = f"msg_{uuid.uuid4().hex}"
        for attempt in range(1, MOST_TRIES + 1):
            try:
                status, answer, pause = await self._post(session, body, message_id)
            except (aiohttp.ClientError, TimeoutError, OSError) as failure:
                if attempt == MOST_TRIES or not self.outcome.statuses:
                    raise Unreachable(f"cannot reach {self.shown_url}: {_reason(failure)}") from None
                pause = min(0.25 * 2**attempt, LONGEST_PAUSE_S)
            else:
                if status not in LATER or attempt == MOST_TRIES:
                    break
            self.outcome.retries += 1
            await asyncio.sleep(pause)
        return status, answer

    async def _post(
        self, session: aiohttp.ClientSession, body: bytes, message_id: str
    ) -> tuple[int, dict[str, Any], float]:
        headers = self._headers | (signed(self._keys, message_id, body, now=int(time.time())) if self._keys else {})
        async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
            answer = _object(await response.read())
            return response.status, answer, _pause(response.headers.get("retry-after", ""))


async def _feed(bodies: Iterable[bytes], waiting: Waiting, workers: int, rate: float | None) -> None:
    """Hands out the bodies at the pace asked for, then tells the workers to go home."""
    begun = time.monotonic()
    source = _Bodies(bodies)
    for index in itertools.count():
        body = await source.next()
        if body is None:
            break
        if rate is not None:
            await asyncio.sleep(max(0.0, begun + index / rate - time.monotonic()))
        await waiting.put((index, body))
    for _ in range(workers):
        await waiting.put(None)


class _Bodies:
    """Takes bodies from their source on a thread: a pipe may keep us waiting, and answers must not wait for it.

    At the end nobody waits for that thread, as asyncio does for those of `to_thread`: a silent pipe would keep an
    interrupt, or a receiver that is not there, from ending the command.
    """

    def __init__(self, bodies: Iterable[bytes]) -> None:
        self._source, self._asked = iter(bodies), SimpleQueue[asyncio.Future[bytes | None]]()
        threading.Thread(target=self._run, daemon=True).start()

    async def next(self) -> bytes | None:
        """The next one, None at the end."""
        found: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._asked.put(found)
        return await found

    def _run(self) -> None:
        more = True
        while more:
            found = self._asked.get()
            try:
                body = next(self._source, None)
                more, tell = body is not None, partial(found.set_result, body)
            except BaseException as failure:  # noqa: BLE001 - it is raised where it is waited for
                more, tell = False, partial(found.set_exception, failure)
            with suppress(RuntimeError):  # the loop has ended
                found.get_loop().call_soon_threadsafe(_unless_done, found, tell)


def _unless_done(found: asyncio.Future[bytes | None], tell: Callable[[], None]) -> None:
    if not found.done():
        tell()


def _pause(retry_after: str) -> float:
    """Seconds to wait; an HTTP date or nothing counts as one second."""
    return min(float(retry_after), LONGEST_PAUSE_S) if retry_after.isdecimal() else 1.0


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _reason(failure: BaseException) -> str:
    if isinstance(failure, TimeoutError):
        return f"no answer within {ANSWER_TIMEOUT_S:g} s"
    if isinstance(failure, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return "not an address"  # the error's own text is the address, which may hold a token
    cause = failure.os_error if isinstance(failure, aiohttp.ClientConnectorError) else failure
    return " ".join((getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).split())
