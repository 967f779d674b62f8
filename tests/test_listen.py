"""How the server stops: others are told first, whoever insists need not wait."""

import signal

import pytest

from app import listen
from app.listen import GentleServer, server_config


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
