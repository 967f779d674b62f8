"""A process of ours that never outlives us: output in a file, stopped in order, killed by the kernel if we die first.

`PR_SET_PDEATHSIG` (prctl(2)) is what holds when this process is killed with -9 and no `finally` runs. It is SIGKILL,
not SIGTERM, which a stopped or hung child would ignore. It comes when the *thread* that started the child ends: start
children from a thread that lives as long as they should. Elsewhere than on Linux only the orderly ways remain.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ChildFailed(Exception):  # noqa: N818 - it says what happened to whom
    """A child ended, or did not get ready in time: what happened, in one line, and the end of its log."""

    def __init__(self, what: str, log: str) -> None:
        super().__init__(f"{what}; its last lines:\n{log}")
        self.what, self.log = what, log


def _die_with(parent: int) -> Callable[[], None] | None:
    """Return what the child runs between fork and exec."""
    if _libc is None:
        return None
    libc = _libc

    def bind_fate() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before prctl took hold
            os._exit(1)

    return bind_fate


class Child:
    """One running process; its log holds stdout and stderr, appended over restarts."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name, self.log = name, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - commands of ours, no shell
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,  # Ctrl-C in the terminal reaches us alone: we stop children in our order
                preexec_fn=_die_with(os.getpid()),  # two system calls, safe after fork
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.output.splitlines()[-lines:])

    def signal(self, number: int) -> None:
        """Send a signal to it and to what it started."""
        if self.returncode is None:
            os.killpg(self.pid, number)

    def require(self) -> None:
        """Raise if it has ended."""
        if self.returncode is not None:
            raise ChildFailed(f"{self.name} ended with code {self.returncode}", self.tail())

    def wait_until(self, ready: Callable[[], bool], *, within_seconds: float) -> None:
        """Return when it is ready; raise if it ends before, or the time is over."""
        deadline = time.monotonic() + within_seconds
        while not ready():
            self.require()
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self.name} was not ready in {within_seconds:g} s", self.tail())
            time.sleep(0.05)

    def wait(self, seconds: float) -> int | None:
        """Return its exit code, or None if it still runs after so long."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, *, grace_seconds: float = 10.0) -> int:
        """Ask with SIGTERM, then insist with SIGKILL; return the exit code."""
        self.signal(signal.SIGTERM)
        code = self.wait(grace_seconds)
        return self.kill() if code is None else code

    def kill(self) -> int:
        """End it at once, with what it started."""
        self.signal(signal.SIGKILL)
        return self._process.wait()
