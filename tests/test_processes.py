"""What tests and benchmarks ask of a running process."""

import math
import signal
import subprocess
import sys

import pytest

from app.demo.ports import LOOPBACK, free_port
from benchmarks.backlog import end
from benchmarks.processes import figure


def test_a_figure_of_nobody_is_no_zero() -> None:
    """A worker that was too busy to answer passed for one that is idle, or for one that had lost nothing."""
    assert math.isnan(figure(f"http://{LOOPBACK}:{free_port()}/metrics", "phonon_lag_records"))


def test_a_worker_that_does_not_end_is_killed_and_told_of() -> None:
    """It stayed behind, with all that were to be ended after it, and took CPU from what was measured next."""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    both = [subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) for _ in range(2)]
    for process in both:
        assert process.stdout
        process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        end(both, within_seconds=0.1)
    assert [process.returncode for process in both] == [-signal.SIGKILL] * 2
    for process in both:
        assert process.stdout
        process.stdout.close()
