"""config shows what holds and where it comes from, never a secret; a shell is told what could be typed."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.cli import run
from schemas.effective import effective
from schemas.settings import NAMES, SECRETS
from tests.processes import SCRIPT, clean_environment
from tests.test_settings import GOOD


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("PHONON_", "KAFKA_", "SCHEMA_REGISTRY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["config", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    return {row.pop("name"): row for row in json.loads(shown(capsys, "--json"))}


def test_every_setting_is_there_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    rows = told(capsys)
    assert list(rows) == [*NAMES, "KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL"]
    assert {row["source"] for row in rows.values()} == {"default"}
    assert rows["PHONON_PORT"] == {"value": "8080", "set": True, "source": "default"}
    assert rows["PHONON_TOKEN"] == {"value": None, "set": False, "source": "default"}


def test_where_each_value_comes_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("swordfish")
    (tmp_path / ".env").write_text(
        "PHONON_PORT=1111\nPHONON_REGION=US\nPHONON_TOKEN_FILE=secret\nPHONON_HOST=\nPHONON_SPOOL_DIR=//a@b/[red]\n"
    )
    monkeypatch.setenv("PHONON_PORT", "2222")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "me")
    rows = told(capsys)
    assert {name: (row["value"], row["source"]) for name, row in rows.items() if row["source"] != "default"} == {
        "PHONON_PORT": ("2222", "environment"),
        "PHONON_REGION": ("US", ".env"),
        "PHONON_TOKEN": (None, "file secret"),
        "PHONON_SPOOL_DIR": ("//a@b/[red]", ".env"),
        "KAFKA_SASL_USERNAME": ("me", "environment"),
    }
    table = shown(capsys)
    assert "[red]" in table
    assert "set, hidden" in table


def test_no_secret_is_ever_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = {
        "KAFKA_SASL_PASSWORD": "swordfish",
        "KAFKA_SSL_KEY_PASSWORD": "swordfish",
        "KAFKA_SASL_OAUTHBEARER_CONFIG": "principal=swordfish",
        "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": "swordfish",
        "SCHEMA_REGISTRY_URL": "https://user:swordfish@registry:8081/path",
    }
    secrets = {name: value for name, value in GOOD.items() if name in SECRETS}
    for name, value in (secrets | passwords).items():
        monkeypatch.setenv(name, value)
    for said in (shown(capsys), shown(capsys, "--json")):
        assert not [value for value in ("swordfish", *secrets.values()) if value in said]
        assert "https://registry:8081/path" in said
    assert {s.name: s.is_set for s in effective(os.environ) if s.is_secret} == dict.fromkeys(
        [*SECRETS, *sorted(name for name in passwords if name.startswith("KAFKA"))], True
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PHONON_PROT", "1", "unknown setting PHONON_PROT: did you mean PHONON_PORT? The README lists all of them"),
        ("PHONON_X", "1", "unknown setting PHONON_X: the README lists all of them"),
        ("PHONON_PORT", "many", "PHONON_PORT is 'many': expected a whole number from 0 to 65535"),
        ("KAFKA_NO_SUCH_THING", "1", 'KAFKA_NO_SUCH_THING: No such configuration property: "no.such.thing"'),
        (
            "KAFKA_LINGER_MS",
            "abc",
            'KAFKA_LINGER_MS: Invalid value for configuration property "queue.buffering.max.ms"',
        ),
        ("KAFKA_TRANSACTIONAL_ID", "t", "KAFKA_TRANSACTIONAL_ID can't be set: the receiver depends on its own"),
    ],
)
def test_what_stops_the_start_stops_it_here(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert run(["config"]) == 2
    assert capsys.readouterr() == ("", f"phonon-events: {said}\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_PHONON_EVENTS_COMPLETE={shell}_complete" in script


def test_bash_completes_commands_and_topics(tmp_path: Path) -> None:
    typed = [("phonon-events", "sp"), ("phonon-events tail", "d"), ("phonon-events replay", "--from-r")]
    asks = [
        f"COMPREPLY=() COMP_WORDS=({words} {part}) COMP_CWORD={len(words.split())}; "
        f"_phonon_events_completion phonon-events {part}; "
        'echo "${COMPREPLY[@]}"'
        for words, part in typed
    ]
    script = f'eval "$({SCRIPT} completion bash)"; ' + "; ".join(asks)
    environment = clean_environment(os.environ, {"PATH": f"{Path(SCRIPT).parent}:{os.environ['PATH']}"})
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "spool",
        "dtmf did-metrics did-alerts did-ranking delivery",
        "--from-raw --from-rejected",
    ]
