"""Files, folders and pipes are read to their end whatever is in them, and an interruption never skips a delivery."""

import gzip
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli import run
from app.demo.ports import free_port
from app.posting import MOST_TOLD
from app.sources import NoState, Progress, Sources, Trouble, expand
from tests.processes import SCRIPT, clean_environment
from tests.test_send import Receiver, answering

__all__ = ["answering"]
URL = "http://receiver/hook"


def bodies(names: list[str], progress: Progress) -> list[bytes]:
    return [item.body for item in Sources(names, progress.begin)]


def numbered(path: Path, numbers: range) -> list[bytes]:
    lines = [b'{"phonon-uuid": "%d"}' % number for number in numbers]
    content = b"\n\n".join(lines) + b"\n"
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return lines


def test_a_folder_is_all_deliveries_in_it_sorted(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/2.json", "a/1.jsonl.gz", "c.txt", "a/d.json.bak", "a/3.body", "a/4.damaged"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "x.json").mkdir()
    inside = [str(tmp_path / name) for name in ("a/1.jsonl.gz", "a/2.json", "a/3.body", "b.jsonl")]
    assert expand([str(tmp_path), "-", str(tmp_path / "c.txt")]) == [*inside, "-", str(tmp_path / "c.txt")]


def test_a_folder_that_can_not_be_listed_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    numbered(tmp_path / "a.jsonl", range(3))
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def guarded(folder: Any) -> Any:
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    assert run(["send", str(tmp_path), "--url", "http://127.0.0.1:9/"]) == 1
    assert capsys.readouterr() == ("", f"phonon-events: {tmp_path / 'locked'}: Permission denied\n")


def test_zipped_lines_are_read_with_their_numbers(tmp_path: Path) -> None:
    lines = numbered(tmp_path / "a.jsonl.gz", range(3))
    assert [(item.body, item.line) for item in Sources([str(tmp_path / "a.jsonl.gz")])] == list(
        zip(lines, (1, 3, 5), strict=True)
    )


def test_what_can_not_be_read_is_told_with_its_place_and_the_rest_is_read(tmp_path: Path) -> None:
    whole = gzip.compress(
        b"".join(b"%d %s\n" % (n, random.Random(n).randbytes(400).hex().encode()) for n in range(400))
    )
    (tmp_path / "1.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "2.jsonl.gz").write_bytes(b"not gzip")
    lines = numbered(tmp_path / "3.jsonl", range(2))
    told: list[Trouble] = []
    found = [item.body for item in Sources([*expand([str(tmp_path)]), str(tmp_path / "gone.json")], told=told.append)]
    assert found[-2:] == lines
    assert len(found) > 50
    assert [(Path(trouble.name).name, trouble.reason) for trouble in told] == [
        ("1.jsonl.gz", "Compressed file ended before the end-of-stream marker was reached"),
        ("2.jsonl.gz", "Not a gzipped file (b'no')"),
        ("gone.json", "No such file or directory"),
    ]
    assert told[0].line == len(found) - 1
    assert told[1].line == 1


@pytest.mark.parametrize("seed", range(20))
def test_whenever_it_is_interrupted_nothing_is_skipped(seed: int, tmp_path: Path) -> None:
    """Answers come in any order; it stops anywhere, and what was written down last may be older than that."""
    chance = random.Random(seed)
    state, names = tmp_path / "state", [str(tmp_path / name) for name in ("a.jsonl.gz", "b.jsonl", "c.jsonl")]
    every = [body for n, name in enumerate(names) for body in numbered(Path(name), range(10 * n, 10 * n + 10))]
    answered: list[bytes] = []
    runs = 0
    while set(answered) != set(every):
        runs += 1
        assert runs < 200
        progress = Progress(state, URL).load()
        sent = list(progress.give(Sources(names, progress.begin)))
        waiting = list(enumerate(sent))
        for _ in range(chance.randrange(len(sent) + 1)):
            number, body = waiting.pop(chance.randrange(min(5, len(waiting))))
            answered.append(body)
            progress.settle(number, for_good=True)
            if chance.random() < 0.3:
                progress.save()
    progress.save()
    assert len(answered) < 4 * runs + len(every) + 8 * runs, "few are repeated"


def test_what_may_be_taken_later_is_posted_again_with_all_that_follows(tmp_path: Path) -> None:
    name, state = str(tmp_path / "a.jsonl"), tmp_path / "state"
    lines = numbered(Path(name), range(5))
    progress = Progress(state, URL).load()
    for number, _ in enumerate(progress.give(Sources([name]))):
        progress.settle(number, for_good=number != 2)
    progress.save()
    assert bodies([name], Progress(state, URL).load()) == lines[2:]


def test_a_file_that_is_not_what_it_was_is_begun_anew_and_one_that_grew_goes_on(tmp_path: Path) -> None:
    file, state = tmp_path / "a.jsonl", tmp_path / "state"
    numbered(file, range(5))
    progress = Progress(state, URL).load()
    for number, _ in enumerate(progress.give(Sources([str(file)]))):
        progress.settle(number, for_good=True)
    progress.save()
    assert bodies([str(file)], Progress(state, URL).load()) == []
    grown = numbered(file, range(8))
    assert bodies([str(file)], Progress(state, URL).load()) == grown[5:]
    for others in (range(1, 6), range(3), range(20, 30)):
        lines = numbered(file, others)
        assert bodies([str(file)], Progress(state, URL).load()) == lines


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "is no state of"),
        ("[]", "is no state of"),
        ('{"version": 1, "url": "http://other/", "files": {}}', "is about deliveries to http://other/"),
        ('{"version": 1, "url": "http://u:secret@other/", "files": {}}', "is about deliveries to http://other/"),
        ('{"version": 2}', "was written by another version"),
        ('{"version": 1, "url": "http://receiver/hook", "files": {"a": {"line": 1}}}', "is no state of"),
    ],
)
def test_a_file_that_is_no_state_is_left_alone(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "state").write_text(content)
    with pytest.raises(NoState, match=said) as failure:
        Progress(tmp_path / "state", URL).load()
    assert "\n" not in str(failure.value)
    assert (tmp_path / "state").read_text() == content


def test_the_command_tells_what_was_refused_where_and_ends_with_one(
    answering: Callable[[int], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbered(tmp_path / "1.jsonl", range(2))
    (tmp_path / "2.jsonl.gz").write_bytes(b"not gzip")
    state = tmp_path / "state.json"
    arguments = ["send", str(tmp_path), "--url", answering(422), "--resume", str(state), "--concurrency", "1"]
    assert run(arguments) == 1
    first = tmp_path / "1.jsonl"
    *places, last = capsys.readouterr().err.splitlines()
    assert sorted(places) == [
        f"{first}:1: 422 because",
        f"{first}:3: 422 because",
        f"{tmp_path / '2.jsonl.gz'}:1: can't be read: Not a gzipped file (b'no')",
    ]
    assert last == (
        "phonon-events: can't be read to their end: 1 of the files; 2 of 2 deliveries not accepted; 422: because"
    )
    assert run(arguments) == 1
    out, err = capsys.readouterr()
    assert "posted before, not again: 2" in out
    assert err.count("\n") == 2
    lines = numbered(first, range(5, 7))
    assert run(arguments) == 1
    out = capsys.readouterr().out
    assert f"not the file it was, posted from its start: {first}" in out
    assert f"deliveries: {len(lines)}," in out


def test_thousands_of_refusals_are_not_all_told(
    answering: Callable[[int], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbered(tmp_path / "1.jsonl", range(60))
    assert run(["send", str(tmp_path), "--url", answering(422)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == MOST_TOLD + 2


def test_a_named_pipe_is_read_once(
    answering: Callable[[int], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    content = b"\n".join(numbered(tmp_path / "a.jsonl", range(3)))
    writer = threading.Thread(target=lambda: (tmp_path / "pipe.jsonl").write_bytes(content))
    writer.start()
    assert run(["send", str(tmp_path / "pipe.jsonl"), "--url", answering(200)]) == 0
    assert "deliveries: 3," in capsys.readouterr().out
    writer.join(5)


def test_a_state_that_can_not_be_written_ends_it_in_one_line(
    answering: Callable[[int], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbered(tmp_path / "a.jsonl", range(3))
    state = tmp_path / "nowhere" / "state"
    assert run(["send", str(tmp_path / "a.jsonl"), "--url", answering(200), "--resume", str(state)]) == 1
    err = capsys.readouterr().err
    assert err == f"phonon-events: {state}.new: No such file or directory\n"


@pytest.mark.parametrize("arguments", [["-"], ["--synthetic", "5"]])
def test_what_can_not_be_read_again_can_not_be_resumed(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["send", *arguments, "--resume", "state"]) == 2
    assert "--resume needs files: a pipe can't be read from where it stopped" in capsys.readouterr().err


async def test_killed_at_any_moment_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """The real thing: SIGKILL twice, then to the end."""
    import asyncio

    every = numbered(tmp_path / "a.jsonl", range(400))
    async with Receiver().listening() as receiver:
        command = [SCRIPT, "send", "a.jsonl", "--url", receiver.url, "--resume", "state", "--rate", "250"]
        environment = clean_environment(os.environ, {})

        def start() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE)

        for _ in range(2):
            had, child = len(receiver.got), start()
            deadline = time.monotonic() + 20
            while len(receiver.got) < had + 300 * (had == 0) + 20 and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            child.send_signal(signal.SIGKILL)
            child.wait()
        last = start()
        out, _ = await asyncio.to_thread(last.communicate)
    got = [body for body, _, _ in receiver.got]
    assert last.returncode == 0
    assert set(got) == set(every)
    assert len(got) < 2 * len(every)
    assert b"posted before, not again" in out
    assert json.loads((tmp_path / "state").read_text())["files"][str((tmp_path / "a.jsonl").resolve())]["line"] == 799


def test_nobody_there_leaves_nothing_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbered(tmp_path / "1.jsonl", range(2))
    state, url = tmp_path / "state", f"http://127.0.0.1:{free_port()}/"
    assert run(["send", str(tmp_path / "1.jsonl"), "--url", url, "--resume", str(state)]) == 1
    assert capsys.readouterr().err.startswith("phonon-events: cannot reach http://127.0.0.1:")
    assert json.loads(state.read_text())["files"] == {}


@pytest.mark.parametrize(("interrupted", "code"), [(False, 1), (True, 130)])
async def test_a_pipe_that_says_nothing_does_not_keep_it_from_ending(
    interrupted: bool, code: int, tmp_path: Path
) -> None:
    import asyncio

    async with Receiver().listening() as receiver:
        url = receiver.url if interrupted else f"http://127.0.0.1:{free_port()}/"
        with subprocess.Popen(  # noqa: ASYNC220 - it has hardly begun
            [SCRIPT, "send", "-", "--url", url],
            cwd=tmp_path,
            env=clean_environment(os.environ, {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as sending:
            assert sending.stdin is not None
            assert sending.stderr is not None
            try:
                sending.stdin.write(b'{"n": 1}\n{"n": 2}\n')
                sending.stdin.flush()
                deadline = time.monotonic() + 30
                while interrupted and len(receiver.got) < 2 and time.monotonic() < deadline:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                if interrupted:
                    sending.send_signal(signal.SIGINT)
                assert await asyncio.to_thread(sending.wait, 30) == code
            finally:
                sending.kill()
            said = sending.stderr.read()
    assert said.count(b"\n") == (0 if interrupted else 1)
