"""The parent of the receiver's workers: whatever ends one, another takes its place."""

import errno
import time
from types import SimpleNamespace
from typing import Any

import pytest

from app import workers
from app.workers import _Crew


class Process:
    """One of the workers, as far as the parent looks at it: started or not, alive or dead."""

    def __init__(self, exitcode: int | None = None, failure: OSError | None = None) -> None:
        self.pid, self.exitcode, self._failure = 7, exitcode, failure

    def start(self) -> None:
        if self._failure:
            raise self._failure


def test_a_worker_that_can_not_be_started_now_is_started_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The parent's error left the others without one, and itself waiting for their end."""
    monkeypatch.setattr(workers, "RESTART_SECONDS", 0)
    crew: Any = _Crew(time.sleep, (60,))
    dead, well, fresh = Process(exitcode=-9), Process(), Process()
    crew._processes = [dead, well]
    coming = [Process(failure=OSError(errno.EAGAIN, "Resource temporarily unavailable")), fresh]
    crew._context = SimpleNamespace(Process=lambda **_: coming.pop(0))
    crew._replace()
    assert crew._processes == [dead, well]
    assert "no worker can be started: Resource temporarily unavailable" in capsys.readouterr().err
    crew._replace()
    assert crew._processes == [well, fresh]
