"""The command line as a user meets it: quick help, exit codes, one line for whatever goes wrong."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import app.cli
from app.cli import cli, run
from app.exits import Failed, WrongSettings, foreseen
from schemas.env_file import read_env_file
from schemas.settings import SettingsError
from tests.processes import SCRIPT, clean_environment, run_command

HEAVY = ("confluent_kafka", "aiohttp", "starlette", "uvicorn", "rich", "msgspec", "phonenumbers", "faust", "asyncio")


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("PHONON_", "KAFKA_", "SCHEMA_REGISTRY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.chdir(tmp_path)


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def test_there_are_the_commands_of_the_contract() -> None:
    names = {" ".join(path) for path, _ in commands()}
    assert names >= {
        "serve",
        "metrics",
        "topics create",
        "topics check",
        "tail",
        "send",
        "spool status",
        "spool drain",
        "dashboard",
        "demo",
    }


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_every_command_explains_itself_with_an_example(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example" in shown
    assert "phonon-events " + " ".join(path) in shown


def test_help_imports_nothing_heavy() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import app.cli, sys; app.cli.run(['--help']); print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["topics"], "Missing command."),
        (["frobnicate"], "No such command 'frobnicate'."),
        (["serve", "--workers", "0"], "Invalid value for '--workers': 0 is not in the range 1<=x<=64."),
        (["send", "--synthetic", "1", "--rate", "nan"], "Invalid value for '--rate': 'nan' is not a number."),
        (
            ["send", "--synthetic", "1", "--span", "1e300"],
            "Invalid value for '--span': 1e+300 is not in the range 1<=x<=315360000.",
        ),
        (
            ["send", "--synthetic", "1", "--dids", "9" * 11],
            "Invalid value for '--dids': 99999999999 is not in the range 1<=x<=1000000.",
        ),
        *(
            (
                ["send", "--synthetic", "1", "--until", f"{day}T00:00:00"],
                f"Invalid value for '--until': '{day}T00:00:00' is not in the years 1980 to 9998.",
            )
            for day in ("0001-01-01", "9999-12-31")
        ),
        (["send"], "give FILES or --synthetic N, one of the two"),
        (["replay"], "give --from-raw or --from-rejected, one of the two"),
        (["replay", "--from-raw", "--from-rejected"], "give --from-raw or --from-rejected, one of the two"),
        (["tail", "--from-beginning", "--since", "10m"], "give --from-beginning or --since, one of the two"),
        (
            ["tail", "--since", "ten"],
            "Invalid value for '--since': 'ten' is no time: expected 2026-11-22T10:00, or 30m, 2h, 3d for so long ago",
        ),
        (["send", "missing.json"], "Invalid value for '[FILES]...': Path 'missing.json' does not exist."),
        (["send", __file__, "--output", "x"], "--output and --expected need --synthetic"),
        (
            ["tail", "flows"],
            "unknown topic 'flows': "
            "one of call-leg, dtmf, sms, email, key, recording, flow, rejected, did-metrics, did-alerts, "
            "group-metrics, did-ranking, delivery",
        ),
    ],
)
def test_wrong_usage_is_code_2_and_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"phonon-events: {said} (see phonon-events")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PHONON_PORTS", "1", "unknown setting PHONON_PORTS: did you mean PHONON_PORT? The README lists all of them"),
        ("PHONON_PORT", "many", "PHONON_PORT is 'many': expected a whole number from 0 to 65535"),
        ("KAFKA_NO_SUCH_THING", "1", 'KAFKA_NO_SUCH_THING: No such configuration property: "no.such.thing"'),
    ],
)
@pytest.mark.parametrize("arguments", [["tail"], ["topics", "check"]], ids=" ".join)
def test_a_wrong_setting_is_code_2_and_one_line(
    arguments: list[str],
    name: str,
    value: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    assert run(arguments) == 2
    assert capsys.readouterr() == ("", f"phonon-events: {said}\n")


@pytest.mark.parametrize(
    "arguments", [["serve"], ["metrics"], ["send", "-"], ["spool", "status"], ["dashboard"], ["demo"]]
)
def test_every_command_checks_its_settings_first(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PHONON_CONTENT", "burn")
    assert run(arguments) == 2
    assert capsys.readouterr().err == "phonon-events: PHONON_CONTENT is 'burn': expected one of keep, drop\n"


def test_settings_come_from_the_env_file_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".env").write_text("PHONON_REGION=india\n")
    assert run(["spool", "status"]) == 2
    assert "PHONON_REGION is 'india'" in capsys.readouterr().err


def test_where_one_may_not_look_there_is_no_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sudo -u phonon phonon-events serve`, typed in a home that is closed to others, ended with PermissionError."""

    class Closed:
        def is_file(self) -> bool:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("schemas.env_file.ENV_FILE", Closed())
    assert read_env_file() == {}


NO_ENV_FILES = (
    (b"PHONON_PORT=1\n\nno equals sign\n", ".env: line 3 is no NAME=value"),
    (b"PHONON_PORT=1\nPHONON_HOST\n", ".env: line 2 is no NAME=value"),
    (b"\xff\xfe\x00", ".env: cannot read it (UnicodeDecodeError)"),
)


@pytest.mark.parametrize(("content", "said"), NO_ENV_FILES)
def test_an_env_file_that_cannot_be_read_is_a_wrong_setting(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_bytes(content)
    assert run(["spool", "status"]) == 2
    assert capsys.readouterr() == ("", f"phonon-events: {said}\n")


def test_an_env_file_is_read_as_shells_read_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"PHONON_PORT=1\n# none\nPHONON_HOST='a b'\nKAFKA_X=\n")
    assert read_env_file() == {"PHONON_PORT": "1", "PHONON_HOST": "a b", "KAFKA_X": ""}


def test_faust_refuses_an_env_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PHONON_PORT=1\nno equals sign\n")
    command = [sys.executable, "-m", "faust", "-A", "streams.app", "worker", "-l", "info"]
    environment = clean_environment(os.environ, {})
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (2, "settings: .env: line 2 is no NAME=value\n")


@pytest.mark.parametrize("arguments", [["serve"], ["spool", "drain"], ["replay", "--from-raw"]], ids=" ".join)
def test_a_region_without_telephones_is_a_wrong_setting(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PHONON_REGION", "ZZ")
    (tmp_path / "spool").mkdir()
    assert run(arguments) == 2
    expected = "PHONON_REGION is 'ZZ': expected a region with telephone numbers, such as IN"
    assert capsys.readouterr() == ("", f"phonon-events: {expected}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["spool", "drain"], "there is no spool at {cwd}/spool: PHONON_SPOOL_DIR says where"),
        (["send", "one.json", "--resume", "none/state"], "none/state.new: No such file or directory"),
        (["send", "one.json", "--url", "ftp://receiver"], "cannot reach ftp://receiver: not an address"),
        (["send", "--synthetic", "1", "--output", "none/x.jsonl"], "none/x.jsonl: No such file or directory"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_cannot_be_done_is_code_1_and_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.json").write_text('{"phonon-uuid": "1"}')
    assert run(arguments) == 1
    assert capsys.readouterr() == ("", f"phonon-events: {said.format(cwd=tmp_path)}\n")


def test_a_worker_without_a_place_for_its_state_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "state"
    done = run_command("metrics", settings={"PHONON_STATE_DIR": str(place)}, folder=tmp_path, within_seconds=30)
    assert (done.returncode, done.stderr) == (2, f"settings: PHONON_STATE_DIR is {str(place)!r}: Not a directory\n")


def test_without_a_broker_there_is_one_line_in_about_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    assert run(["tail", "flow"]) == 1
    assert time.monotonic() - begun < 12
    err = capsys.readouterr().err
    assert err.startswith("phonon-events: no answer from Kafka at 127.0.0.1:1 (")
    assert "refused" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("two\nlines"), 1, "phonon-events: RuntimeError: two lines\n"),
    ],
)
def test_nothing_ends_in_a_traceback(
    raised: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Any:
        raise raised

    monkeypatch.setattr(app.cli, "_settings", broken)
    assert run(["spool", "status"]) == code
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
    ("raised", "ends_in", "said"),
    [
        (OSError(28, "No space left on device"), Failed, "[Errno 28] No space left on device"),
        (OSError(28, "No space left on device", "state"), Failed, "state: No space left on device"),
        (BrokenPipeError(32, "Broken pipe"), BrokenPipeError, "[Errno 32] Broken pipe"),
        (SettingsError("PHONON_X is odd"), WrongSettings, "PHONON_X is odd"),
        (ValueError("ours"), ValueError, "ours"),
    ],
    ids=repr,
)
def test_what_was_foreseen_is_said_in_its_own_words(raised: Exception, ends_in: type[Exception], said: str) -> None:
    with pytest.raises(ends_in) as ended, foreseen(OSError):
        raise raised
    assert str(ended.value) == said


def test_the_spool_of_a_fresh_start_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["spool", "status"]) == 0
    assert "deliveries waiting" in capsys.readouterr().out


def test_synthetic_deliveries_are_written_instead_of_posted_and_repeatable(tmp_path: Path) -> None:
    command = ["send", "--synthetic", "20", "--until", "2026-01-05T06:00:00", "--output"]
    for name in ("once.jsonl", "again.jsonl"):
        assert run([*command, str(tmp_path / name)]) == 0
    once, again = ((tmp_path / name).read_bytes() for name in ("once.jsonl", "again.jsonl"))
    assert once == again
    assert len(once.splitlines()) == 20


def in_bash(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """What becomes of a line of bash, in this folder and without settings; output is held back as it is for a user."""
    command, environ = ["/bin/bash", "-c", line], clean_environment(os.environ, {"PYTHONUNBUFFERED": ""})
    return subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", ["send --help", "config", "config --json"])
def test_a_reader_that_has_had_enough_ends_it_quietly(arguments: str, tmp_path: Path) -> None:
    broken_pipe = in_bash(f"{SCRIPT} {arguments} | true; echo ${{PIPESTATUS[0]}}", tmp_path)
    assert (broken_pipe.returncode, broken_pipe.stdout.strip(), broken_pipe.stderr) == (0, "0", "")


@pytest.mark.parametrize("arguments", ["config", "spool status", "completion bash"])
def test_without_a_standard_output_it_does_its_work(arguments: str, tmp_path: Path) -> None:
    closed = in_bash(f"{SCRIPT} {arguments} >&-", tmp_path)
    assert (closed.returncode, closed.stderr) == (0, "")
