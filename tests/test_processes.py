"""What tests and benchmarks ask of a running process."""

import math

from app.demo.ports import LOOPBACK, free_port
from benchmarks.processes import figure


def test_a_figure_of_nobody_is_no_zero() -> None:
    """A worker that was too busy to answer passed for one that is idle, or for one that had lost nothing."""
    assert math.isnan(figure(f"http://{LOOPBACK}:{free_port()}/metrics", "phonon_lag_records"))
