"""Times as a person types them."""

import time

import pytest

from app.cli import run
from app.terminal import Moment


@pytest.mark.parametrize(
    "typed", ["2025-11-22T19:03:46Z", "2025-11-22T19:03:46", "2025-11-22 19:03:46.000", "2025-11-23T00:33:46+05:30"]
)
def test_a_time_without_offset_is_utc(typed: str) -> None:
    assert Moment().convert(typed, None, None) == 1_763_838_226_000


@pytest.mark.parametrize(("typed", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604800)])
def test_so_long_ago(typed: str, seconds: int) -> None:
    assert Moment().convert(typed, None, None) == pytest.approx((time.time() - seconds) * 1000, abs=5000)


@pytest.mark.parametrize("typed", ["yesterday", "h", "", "2h30m", "\u00b2h", "-3d", "2025-13-01"])
def test_what_is_no_time_is_said_with_an_example(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", "--from-raw", f"--since={typed}"]) == 2
    err = capsys.readouterr().err
    assert "is no time: expected 2026-11-22T10:00, or 30m, 2h, 3d for so long ago" in err
    assert err.count("\n") == 1


def test_replay_needs_to_know_from_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", "--since", "2h"]) == 2
    assert "give --from-raw or --from-rejected" in capsys.readouterr().err
