"""Ready means stored durably; and the three addresses of the management port."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message

from app.health import Management, Readiness
from app.metrics import Metrics
from app.outcomes import SpoolStatus


class Answer:
    """What came back."""

    def __init__(self, messages: list[Message]) -> None:
        self.status: int = messages[0]["status"]
        self.body: bytes = messages[1]["body"]


async def ask(
    path: str,
    *,
    method: str = "GET",
    readiness: Readiness | None = None,
    spool_status: Callable[[], SpoolStatus] = lambda: SpoolStatus(3, 400, 1.5, 2),
    management: Management | None = None,
) -> Answer:
    management = management or Management(
        readiness=lambda: readiness or Readiness("", ""),
        spool_status=spool_status,
        metrics=Metrics(),
        spool_limit_bytes=0,
    )
    sent: list[Message] = []

    async def receive() -> dict[str, Any]:
        return {}

    async def send(message: Message) -> None:
        sent.append(message)

    await management({"path": path, "method": method}, receive, send)
    return Answer(sent)


@pytest.mark.parametrize(
    ("readiness", "ready"),
    [
        (Readiness("", ""), True),
        (Readiness("no answer", ""), True),
        (Readiness("", "the disk is full"), True),
        (Readiness("no answer", "the disk is full"), False),
        (Readiness("", "", stopping=True), False),
    ],
)
async def test_ready_is_what_would_be_stored(readiness: Readiness, ready: bool) -> None:
    answer = await ask("/readyz", readiness=readiness)
    assert answer.status == (200 if ready else 503)
    said = json.loads(answer.body)
    assert said["ready"] is ready
    assert (said["kafka"], said["spool"]) == (readiness.kafka or "ok", readiness.spool or "ok")
    assert said.get("receiver") == ("stopping" if readiness.stopping else None)


async def test_alive() -> None:
    assert (await ask("/healthz")).status == 200
    head = await ask("/healthz", method="HEAD")
    assert (head.status, head.body) == (200, b"")


async def test_metrics_hold_the_spool_and_what_was_just_counted() -> None:
    management = Management(
        readiness=lambda: Readiness("", ""),
        spool_status=lambda: SpoolStatus(3, 400, 1.5, 2, 4096),
        metrics=Metrics(),
        spool_limit_bytes=1000,
    )
    management.metrics.count("phonon_drained_total")
    lines = (await ask("/metrics", management=management)).body.decode().splitlines()
    figures = dict(line.split() for line in lines if not line.startswith("#"))
    assert {name: value for name, value in figures.items() if name.startswith("phonon_spool_")} == {
        "phonon_spool_writable": "1.0",
        "phonon_spool_limit_bytes": "1000.0",
        "phonon_spool_rows": "3.0",
        "phonon_spool_bytes": "400.0",
        "phonon_spool_oldest_age_seconds": "1.5",
        "phonon_spool_set_aside": "2.0",
        "phonon_spool_disk_bytes": "4096.0",
    }
    assert figures["phonon_drained_total"] == "1.0"


async def test_a_disk_that_can_not_be_read_takes_no_other_figures_away() -> None:
    def failing() -> SpoolStatus:
        raise OSError(5, "Input/output error")

    answer = await ask("/metrics", readiness=Readiness("", "the disk fails"), spool_status=failing)
    text = answer.body.decode()
    assert answer.status == 200
    assert "phonon_spool_writable 0.0" in text
    assert "phonon_ready" in text
    assert "phonon_spool_rows" not in text


async def test_a_spool_that_takes_long_to_read_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus gives up after 10 s and says that nobody receives; and each time it asks, one more would read."""
    monkeypatch.setattr("app.health.SPOOL_SECONDS", 0.05)
    read, counts = threading.Event(), [7, 8]

    def slow() -> SpoolStatus:
        rows = counts.pop(0)
        read.wait(10)
        return SpoolStatus(rows, 400, 1.5, 2)

    management = Management(
        readiness=lambda: Readiness("", ""), spool_status=slow, metrics=Metrics(), spool_limit_bytes=0
    )
    texts = [(await ask("/metrics", management=management)).body.decode() for _ in range(3)]
    assert counts == [8]
    assert all("phonon_spool_writable 1.0" in text and "phonon_spool_rows" not in text for text in texts)
    read.set()
    await asyncio.sleep(0.2)
    assert "phonon_spool_rows 7.0" in (await ask("/metrics", management=management)).body.decode()
    read.clear()
    assert "phonon_spool_rows 7.0" in (await ask("/metrics", management=management)).body.decode()
    read.set()


async def test_nothing_else_is_there() -> None:
    assert (await ask("/webhooks/phonon")).status == 404
    assert (await ask("/metrics", method="POST")).status == 405
