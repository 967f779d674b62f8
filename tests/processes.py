"""Programs of ours run as a user runs them: started by their console script, watched through log file and HTTP.

They see none of the developer's own settings (no PHONON_, KAFKA_ or SCHEMA_REGISTRY_ name, no .env, no ./spool): only
those a test gives. Every process is stopped at the end of its test, and none may have printed a traceback.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from app.demo.child import Child
from app.demo.ports import LOOPBACK, answers

OURS = ("PHONON_", "KAFKA_", "SCHEMA_REGISTRY_")
SCRIPT = str(Path(sys.executable).with_name("phonon-events"))
TRACEBACK = "Traceback (most recent call last)"


def clean_environment(environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without settings of ours, but with those given; output is not held back."""
    kept = {name: value for name, value in environ.items() if not name.startswith(OURS)}
    return {**kept, "PYTHONUNBUFFERED": "1", **settings}


def run_command(
    *arguments: str, settings: Mapping[str, str], folder: Path, within_seconds: float
) -> "subprocess.CompletedProcess[str]":
    """Run `phonon-events ARGUMENTS` to its end."""
    return subprocess.run(
        [SCRIPT, *arguments],
        env=clean_environment(os.environ, settings),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=within_seconds,
        check=False,
    )


def ask(port: int, method: str, path: str, body: bytes | None = None, *, within_seconds: float = 10) -> tuple[int, str]:
    """Status and text of an answer on loopback. Raises OSError where nobody gives one."""
    with closing(HTTPConnection(LOOPBACK, port, timeout=within_seconds)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


class Processes:
    """The processes of one test, in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[tuple[Child, bool]] = []

    def __call__(
        self,
        *arguments: str,
        settings: Mapping[str, str] | None = None,
        ready: str | None = None,
        within_seconds: float = 20.0,
        traceback_expected: bool = False,
    ) -> Child:
        """Run `phonon-events ARGUMENTS`; return when it is ready: a URL answers 200, or a text is in its output."""
        child = self.command([SCRIPT, *arguments], settings=settings, traceback_expected=traceback_expected)
        if ready is not None:
            child.wait_until(readiness(child, ready), within_seconds=within_seconds)
        return child

    def command(
        self, command: Sequence[str], *, settings: Mapping[str, str] | None = None, traceback_expected: bool = False
    ) -> Child:
        """Run any command the same way, without waiting."""
        name = " ".join([Path(command[0]).name, *command[1:2]])
        log = self._directory / f"{len(self._started)}-{name.replace(' ', '-').replace('/', '_')}.log"
        environment = clean_environment(os.environ, settings or {})
        child = Child(name, command, log=log, env=environment, cwd=self._directory)
        self._started.append((child, traceback_expected))
        return child

    def said(self) -> list[tuple[str, str]]:
        """Each process so far, its exit code (None while it runs), and its last lines."""
        return [(f"{child.name} (code {child.returncode})", child.tail(30)) for child, _ in self._started]

    def stop_all(self) -> None:
        """Stop the last started first; raise if one of them printed a traceback."""
        for child, _ in reversed(self._started):
            child.stop()
        shown = [child for child, expected in self._started if not expected and TRACEBACK in child.output]
        assert not shown, "\n\n".join(f"{child.name} printed a traceback:\n{child.tail(60)}" for child in shown)


def readiness(child: Child, ready: str) -> Callable[[], bool]:
    """Return the question to ask until the child is ready."""
    if ready.startswith("http://"):
        return lambda: answers(ready)
    return lambda: ready in child.output
