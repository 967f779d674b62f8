"""Every phonon-events command that README and docs show is run as it stands there, against a real Kafka."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from app.demo.broker import Broker
from app.demo.ports import free_port
from app.topics import create_topics
from schemas.settings import read_settings
from tests.processes import Processes, clean_environment

ROOT = Path(__file__).parent.parent
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPT = Path(sys.executable).with_name("phonon-events")
#: Commands that run until they are stopped: said by their name, or by what is left out.
ENDLESS = re.compile(r"serve|metrics|dashboard|tail(?!.*--no-follow)")


def shown() -> list[str]:
    """The commands in all shell blocks, without what they are piped into and without comments."""
    blocks = [block for file in FILES for block in re.findall(r"```sh\n(.*?)```", file.read_text(), re.DOTALL)]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    found = [re.split(r" \| | +#", line)[0] for line in lines if re.match(r"(\.venv/bin/)?phonon-events ", line)]
    return list(dict.fromkeys(found))


def test_there_are_commands_to_run() -> None:
    assert len(shown()) > 8


@pytest.mark.broker
def test_every_command_that_is_shown_works(process: Processes, kafka: Broker, prefix: str, tmp_path: Path) -> None:
    webhook, management = free_port(), free_port()
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "PHONON_TOPIC_PREFIX": prefix,
        "PHONON_PORT": str(webhook),
        "PHONON_MANAGEMENT_PORT": str(management),
        "PHONON_SPOOL_DIR": str(tmp_path / "spool"),
        "PHONON_RAW_TOPIC": "true",
    }
    create_topics(read_settings(settings))
    process("serve", settings=settings, ready=f"http://127.0.0.1:{management}/readyz")
    for command in shown():
        words = shlex.split(command)[1:]
        own = settings if words[0] != "serve" else settings | {"PHONON_PORT": "0", "PHONON_MANAGEMENT_PORT": "0"}
        child = subprocess.Popen(
            [SCRIPT, *words],
            cwd=ROOT,
            env=clean_environment(os.environ, own),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, said = child.communicate(timeout=3 if ENDLESS.search(command) else 30)
        except subprocess.TimeoutExpired:
            assert ENDLESS.search(command), f"{command} did not end"
            child.terminate()
            _, said = child.communicate(timeout=15)
        else:
            assert not ENDLESS.search(command), f"{command} ended: {said.decode()}"
            assert child.returncode == 0, f"{command}: {said.decode()}"
        assert b"Traceback" not in said, command
