"""How the server stops: others are told first, whoever insists need not wait. Where the management port is served."""

import asyncio
import errno
import fcntl
import signal
from pathlib import Path
from typing import Any

import pytest

from app import listen
from app.demo.ports import LOOPBACK, answers, free_port
from app.listen import GentleServer, serve_management, server_config
from schemas.settings import read_settings


def test_the_first_signal_lingers_and_a_second_or_ctrl_c_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopping(*signals: int) -> tuple[bool, bool]:
        """Whether readiness has turned false, and whether the port is closed at once."""
        told = list[bool]()
        server = GentleServer(server_config(None), lambda: told.append(True))
        for number in signals:
            server.handle_exit(number, None)
        return bool(told), server.should_exit

    assert stopping(signal.SIGTERM) == (True, False)
    assert stopping(signal.SIGTERM, signal.SIGTERM) == (True, False), "one, from terminal and parent"
    assert stopping(signal.SIGINT) == (True, True)
    monkeypatch.setattr(listen, "SAME_SIGNAL_SECONDS", -1)
    assert stopping(signal.SIGTERM, signal.SIGTERM) == (True, True)


async def _yes(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_on_a_disk_that_takes_no_lock_the_management_port_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_file: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    port = free_port()
    settings = read_settings({"PHONON_SPOOL_DIR": str(tmp_path), "PHONON_MANAGEMENT_PORT": str(port)})
    serving = asyncio.create_task(serve_management(_yes, settings))
    try:
        for _ in range(100):
            if served := await asyncio.to_thread(answers, f"http://{LOOPBACK}:{port}/"):
                break
            await asyncio.sleep(0.05)
    finally:
        serving.cancel()
        await asyncio.wait([serving])
    assert served
