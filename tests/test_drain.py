"""The drainer: oldest first, removed only when acknowledged, nothing in the way of the rest."""

import asyncio
import errno
import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from app.drain import Drainer
from app.main import Receiver
from app.metrics import Metrics
from app.outcomes import State, Unacknowledged, Unpublishable
from app.outlet import Outlet
from app.pipeline import Made, Pipeline
from app.records import Record
from app.segment import Row
from app.spool import ASIDE, Spool, prepare, segments
from schemas import decode
from schemas.settings import read_settings
from tests.fakes import FakePublisher

PIPELINE = Receiver(read_settings({})).webhook.pipeline


def body(n: int) -> bytes:
    return b'{"phonon-uuid": "flow-%03d"}' % n


def spooled(folder: Path, *bodies: bytes) -> None:
    prepare(folder)
    spool = Spool(folder, most_bytes=10**6)
    spool.commit([Row(1_000 + n, "", content) for n, content in enumerate(bodies)])
    spool.close()


def drainer(folder: Path, publisher: FakePublisher, rate: int = 10_000, *, acquired: bool = True) -> Drainer:
    outlet = Outlet(folder)
    assert not acquired or outlet.acquire()
    return Drainer(outlet=outlet, pipeline=PIPELINE, publisher=publisher, metrics=Metrics(), rate=rate)


def flows(publisher: FakePublisher) -> list[str]:
    return [decode(record.value)[1]["flow_id"] for record in publisher.published]


async def test_oldest_first_and_nothing_left(tmp_path: Path) -> None:
    spooled(tmp_path, *map(body, range(150)))
    publisher, progress = FakePublisher(), list[int]()
    draining = drainer(tmp_path, publisher, rate=1_000)
    draining.progress = progress.append
    assert await draining.drain_once() == 150
    assert progress == [64, 64, 22]
    assert counted(draining, b"phonon_drained_total 150.0")
    batches = [sorted(flows(publisher)[n : n + 64]) for n in range(0, 150, 64)]
    assert [flow for batch in batches for flow in batch] == [f"flow-{n:03d}" for n in range(150)]
    assert segments(tmp_path) == []


@pytest.mark.parametrize(("state", "sizes"), [(State.HEALTHY, [64, 6]), (State.TRYING, [1, 64, 5]), (State.DOWN, [])])
async def test_one_goes_first_while_kafka_is_tried(tmp_path: Path, state: State, sizes: list[int]) -> None:
    spooled(tmp_path, *map(body, range(70)))
    publisher, progress = FakePublisher(), list[int]()
    publisher.state = state
    draining = drainer(tmp_path, publisher, rate=1_000)
    draining.progress = progress.append
    assert await draining.drain_once() == sum(sizes)
    assert progress == sizes


async def test_only_large_rows_are_made_on_a_thread(tmp_path: Path) -> None:
    """A thread for each row would cost as much as making it; a large one would hold up the loop."""
    made: dict[bytes, bool] = {}

    class Watched:
        def is_large(self, body: bytes) -> bool:
            return len(body) > len(body_of_one)

        def __call__(self, row: Row) -> Made:
            made[row.body] = threading.current_thread() is threading.main_thread()
            return PIPELINE(row)

    body_of_one = body(1)
    spooled(tmp_path, body_of_one, body_of_one + b" ")
    draining = drainer(tmp_path, FakePublisher())
    draining.pipeline = cast(Pipeline, Watched())
    assert await draining.drain_once() == 2
    assert made == {body_of_one: True, body_of_one + b" ": False}


async def test_what_is_not_acknowledged_stays(tmp_path: Path) -> None:
    spooled(tmp_path, body(1), body(2))
    publisher = FakePublisher(Unacknowledged("late"))
    assert await drainer(tmp_path, publisher).drain_once() == 0
    assert len(list(Outlet(tmp_path).waiting())) == 2


async def test_what_can_not_be_read_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spooled(tmp_path, body(1), b"not json", body(3))
    publisher = FakePublisher()
    assert await drainer(tmp_path, publisher).drain_once() == 2
    assert flows(publisher) == ["flow-001", "flow-003"]
    assert [path.read_bytes() for path in (tmp_path / ASIDE).iterdir()] == [b"not json"]
    assert segments(tmp_path) == []
    assert caplog.messages == ["a spooled delivery was set aside"], "it is nothing that Kafka refused"


async def test_what_kafka_refuses_for_good_is_set_aside_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spooled(tmp_path, body(1))
    assert await drainer(tmp_path, FakePublisher(Unpublishable("MSG_SIZE_TOO_LARGE"))).drain_once() == 0
    assert [path.read_bytes() for path in (tmp_path / ASIDE).iterdir()] == [body(1)]
    assert caplog.messages == [
        "a spooled delivery was set aside: Kafka refuses a record for good: MSG_SIZE_TOO_LARGE",
    ]


async def test_what_can_not_be_set_aside_stays_and_the_rest_makes_room(tmp_path: Path) -> None:
    """As on a full disk, to which nothing but segments that are done with can bring room."""
    spooled(tmp_path, b"no JSON", body(1))
    (odd,) = segments(tmp_path)
    spooled(tmp_path, body(2))
    (tmp_path / ASIDE).rmdir()
    (tmp_path / ASIDE).touch()
    publisher = FakePublisher()
    with pytest.raises(NotADirectoryError):
        await drainer(tmp_path, publisher).drain_once()
    assert sorted(flows(publisher)) == ["flow-001", "flow-002"]
    assert segments(tmp_path) == [odd]
    assert [waiting.row.body for waiting in Outlet(tmp_path).waiting()] == [b"no JSON"]


async def test_on_a_full_disk_what_is_sent_makes_room_for_what_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one row that can't be read kept the disk full for ever, though all others were in Kafka."""
    monkeypatch.setattr("app.drain.OTHER_DRAINS_SECONDS", 0.01)
    spooled(tmp_path, b"not json")
    spooled(tmp_path, *map(body, range(100)))
    keep_aside = Outlet._keep_aside

    def full(outlet: Outlet, name: str, content: bytes) -> None:
        if len(segments(tmp_path)) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        keep_aside(outlet, name, content)

    monkeypatch.setattr(Outlet, "_keep_aside", full)
    publisher = FakePublisher()
    draining = drainer(tmp_path, publisher)
    runs = asyncio.create_task(draining.run())
    assert await drained(tmp_path, publisher, 100)
    runs.cancel()
    await asyncio.gather(runs, return_exceptions=True)
    assert sorted(flows(publisher)) == [f"flow-{n:03d}" for n in range(100)]
    assert [path.read_bytes() for path in (tmp_path / ASIDE).iterdir()] == [b"not json"]


async def test_the_rate_is_bounded(tmp_path: Path) -> None:
    spooled(tmp_path, *map(body, range(40)))
    draining, progress = drainer(tmp_path, FakePublisher(), rate=100), list[int]()
    draining.progress = progress.append
    began = time.monotonic()
    assert await draining.drain_once() == 40
    assert time.monotonic() - began > 0.3
    assert progress == [10] * 4, "what is a tenth of a second's: no burst of 64"


async def test_what_a_slow_kafka_takes_at_once_grows_until_the_rate_is_reached(tmp_path: Path) -> None:
    """A Kafka that takes 0.2 s for an answer would take no more than 320 rows a second, 64 at a time."""

    class Slow(FakePublisher):
        async def publish(self, records: Sequence[Record], *, live: bool = True) -> None:
            await asyncio.sleep(0.2)
            await super().publish(records, live=live)

    spooled(tmp_path, *map(body, range(1000)))
    draining, progress = drainer(tmp_path, Slow(), rate=1500), list[int]()
    draining.progress = progress.append
    began = time.monotonic()
    assert await draining.drain_once() == 1000
    assert time.monotonic() - began < 4, "it takes 1.1 s: nobody waits once the rate's time is over"
    assert progress[:2] == [64, 128]
    assert 200 <= max(progress) <= 512


async def test_large_rows_are_not_taken_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.drain.MOST_BYTES_AT_ONCE", 3 * len(body(1)))
    spooled(tmp_path, *map(body, range(7)))
    draining, progress = drainer(tmp_path, FakePublisher(), rate=1_000), list[int]()
    draining.progress = progress.append
    assert await draining.drain_once() == 7
    assert progress == [3, 3, 1]


async def drained(folder: Path, publisher: FakePublisher, rows: int) -> bool:
    """Whether so many rows are published within some seconds."""
    for _ in range(500):
        if len(publisher.published) >= rows and not segments(folder):
            return True
        await asyncio.sleep(0.01)
    return False


async def test_one_process_drains_and_another_goes_on_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.drain.OTHER_DRAINS_SECONDS", 0.01)
    monkeypatch.setattr("app.drain.PAUSE_SECONDS", 0.01)
    spooled(tmp_path, body(1))
    publisher, other = FakePublisher(), FakePublisher()
    first, second = drainer(tmp_path, publisher), drainer(tmp_path, other, acquired=False)
    waits = asyncio.create_task(second.run())
    await asyncio.sleep(0.1)
    assert (other.published, len(list(Outlet(tmp_path).waiting()))) == ([], 1)
    runs = asyncio.create_task(first.run())
    assert await drained(tmp_path, publisher, 1)
    runs.cancel()
    await asyncio.gather(runs, return_exceptions=True)
    spooled(tmp_path, body(2))
    assert await drained(tmp_path, other, 1)
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    assert (flows(publisher), flows(other)) == (["flow-001"], ["flow-002"])
    assert Outlet(tmp_path).acquire()


async def test_an_error_of_ours_is_counted_and_draining_goes_on_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.drain.OTHER_DRAINS_SECONDS", 0.05)
    spooled(tmp_path, body(1))
    publisher = FakePublisher()
    draining = drainer(tmp_path, publisher)
    sweep, fails = Outlet.sweep, iter([True, True, False])

    def failing(outlet: Outlet) -> int:
        if next(fails, False):
            raise RuntimeError("a bug")
        return sweep(outlet)

    monkeypatch.setattr(Outlet, "sweep", failing)
    began = time.monotonic()
    runs = asyncio.create_task(draining.run())
    assert await drained(tmp_path, publisher, 1)
    assert time.monotonic() - began >= 2 * 0.05
    runs.cancel()
    await asyncio.gather(runs, return_exceptions=True)
    assert caplog.messages == ["the spool can't be drained"] * 2
    assert counted(draining, b'phonon_failures_total{where="drain"} 2.0')


async def test_a_failing_disk_is_told_once_and_without_our_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.drain.OTHER_DRAINS_SECONDS", 0.01)
    spooled(tmp_path, b"no JSON")
    (tmp_path / ASIDE).rmdir()
    (tmp_path / ASIDE).touch()
    draining = drainer(tmp_path, FakePublisher())
    runs = asyncio.create_task(draining.run())
    async with asyncio.timeout(10):
        await counts(draining, b'phonon_failures_total{where="drain"} 3.0')
        (record,) = caplog.records
        (tmp_path / ASIDE).unlink()
        prepare(tmp_path)
        await counts(draining, b"phonon_set_aside_total 1.0")
    runs.cancel()
    await asyncio.gather(runs, return_exceptions=True)
    assert record.getMessage().startswith("the spool can't be drained: [Errno 20] Not a directory: ")
    assert record.exc_info is None


async def test_a_disk_that_fails_again_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.drain.OTHER_DRAINS_SECONDS", 0.01)
    monkeypatch.setattr("app.drain.PAUSE_SECONDS", 0.01)
    prepare(tmp_path)
    fails = iter([True, True, False, True])

    def failing(_outlet: Outlet) -> int:
        if next(fails, False):
            raise OSError(errno.EIO, "Input/output error")
        return 0

    draining = drainer(tmp_path, FakePublisher())
    monkeypatch.setattr(Outlet, "sweep", failing)
    runs = asyncio.create_task(draining.run())
    async with asyncio.timeout(10):
        await counts(draining, b'phonon_failures_total{where="drain"} 3.0')
    runs.cancel()
    await asyncio.gather(runs, return_exceptions=True)
    assert caplog.messages == ["the spool can't be drained: [Errno 5] Input/output error"] * 2


async def test_a_disk_that_takes_no_marks_does_not_have_the_same_rows_sent_each_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.drain.OTHER_DRAINS_SECONDS", 0.01)
    spooled(tmp_path, body(1))
    publisher, opened, writable = FakePublisher(), os.open, threading.Event()

    def read_only(path: Any, flags: int, *mode: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and not writable.is_set():
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, flags, *mode)

    draining = drainer(tmp_path, publisher)
    monkeypatch.setattr("app.outlet.os.open", read_only)
    runs = asyncio.create_task(draining.run())
    async with asyncio.timeout(10):
        await counts(draining, b'phonon_failures_total{where="drain"} 5.0')
    assert flows(publisher) == ["flow-001"]
    writable.set()
    assert await drained(tmp_path, publisher, 2)
    runs.cancel()
    await asyncio.gather(runs, return_exceptions=True)


async def test_damage_is_counted_and_said_and_nothing_where_there_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spooled(tmp_path, body(1), body(2))
    draining = drainer(tmp_path, FakePublisher())
    await draining.drain_once()
    assert caplog.messages == []
    spooled(tmp_path, body(1), body(2))
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-1])
    await draining.drain_once()
    assert caplog.messages == ["damaged bytes of the spool were set aside"]
    assert caplog.records[0].fields == {"places": 1}  # type: ignore[attr-defined]
    assert counted(draining, b"phonon_set_aside_total 1.0")


def counted(draining: Drainer, line: bytes) -> bool:
    draining.metrics.bring_over()
    return line in draining.metrics.exposition({}).splitlines()


async def counts(draining: Drainer, line: bytes) -> None:
    """Returns when that is counted. The pauses are the drainer's: its threads need the interpreter."""
    while not counted(draining, line):  # noqa: ASYNC110 - it has no event to wait for
        await asyncio.sleep(0.001)


async def test_content_and_numbers_are_gone_from_what_was_spooled(tmp_path: Path) -> None:
    """A body waits as it came, by the settings it is published without."""
    private = ["6262772728", "8238217798", "customer@phonon.io", "Welcome to", "Email Subject", "X-Amz"]
    sample = (Path(__file__).parent / "deliveries" / "sample.json").read_bytes()
    spooled(tmp_path, sample, b'{"keys": ["Welcome to +916262772728"]}')
    privacy = {"PHONON_CONTENT": "drop", "PHONON_NUMBERS": "pseudonymise", "PHONON_PSEUDONYM_KEY": "a key of ours"}
    receiver, publisher = Receiver(read_settings({"PHONON_SPOOL_DIR": str(tmp_path), **privacy})), FakePublisher()
    receiver.drainer.publisher = publisher
    assert await receiver.drainer.drain_once() == 2
    shown = json.dumps([decode(record.value) for record in publisher.published], default=str)
    assert not [value for value in private if value in shown]
    assert [value for value in private if value in sample.decode()] == private
    assert '"Rejected"' in shown
