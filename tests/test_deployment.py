"""What users deploy and install with: the lock, the image, the compose file. Checked without an engine or a network."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from ruamel.yaml import YAML

from schemas.settings import FILES, NAMES, Settings, read_settings
from tests.processes import clean_environment

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMPOSE: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
#: Packages of which we override or read what is private (streams/chunks.py; app/protocol.py, app/listen.py). A version
#: that names it otherwise gives no error: with uvicorn's `main_loop` renamed, a receiver did not heed SIGTERM.
OVERRIDDEN = {"aiokafka", "faust-streaming", "uvicorn"}
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "phonon-events"}


def yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file."""
    content: dict[str, Any] = YAML(typ="safe").load(path)
    return content


def tool(name: str, *arguments: str) -> str:
    """Run a tool of our environment; return what it complains about, empty if nothing."""
    done = subprocess.run([Path(sys.executable).with_name(name), *arguments], capture_output=True, text=True, cwd=ROOT)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def locked(lock: str) -> dict[str, str]:
    """Return name -> version of a lock file."""
    return dict(re.findall(r"(?m)^([a-z0-9.-]+)==([^ ;]+)", lock))


def unmet(requirements: list[str], lock: str) -> list[str]:
    """Return the requirements that the lock does not satisfy."""
    versions = locked(lock)
    wanted = [Requirement(text) for text in requirements]
    return [str(one) for one in wanted if not one.specifier.contains(versions.get(canonicalize_name(one.name), "0"))]


def test_the_lock_satisfies_the_project() -> None:
    wanted = PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]
    assert unmet(wanted, LOCK) == [], "run `make lock`"


def test_time_zones_need_nothing_of_the_system() -> None:
    """Slim images have no zoneinfo, or lack its older names. Of what Faust needs only a new python-dateutil has it."""
    assert [one for one in PROJECT["project"]["dependencies"] if Requirement(one).name == "tzdata"]
    code = "from schemas.settings import read_settings; print(read_settings({}).timezone)"
    environment = clean_environment(os.environ, {"PYTHONTZPATH": ""})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert (done.stdout, done.stderr) == ("Asia/Kolkata\n", "")


def unbounded(names: set[str], requirements: list[str], lock: str) -> set[str]:
    """Return those of the names whose requirement admits a minor version behind the locked one."""
    wanted = {str(canonicalize_name(one.name)): one.specifier for one in map(Requirement, requirements)}
    locked_at = {name: Version(version) for name, version in locked(lock).items()}
    following = {name: f"{locked_at[name].major}.{locked_at[name].minor + 1}" for name in names}
    return {name for name in names if name not in wanted or wanted[name].contains(following[name])}


def test_no_version_is_admitted_whose_inside_we_do_not_know() -> None:
    assert unbounded(OVERRIDDEN, PROJECT["project"]["dependencies"], LOCK) == set()
    assert unbounded(
        {"a", "b", "c"}, ["a>=1.2,<1.4", "b>=1.2", "c==1.3.1"], "a==1.3.1 \\\nb==1.3 \\\nc==1.3.1 \\\n"
    ) == {"b"}
    assert unbounded({"a"}, [], "a==1.3.1 \\\n") == {"a"}


def test_the_check_of_the_lock_can_fail() -> None:
    assert unmet(["a>=2", "b==1", "c"], "a==1.9 \\\nb==1 \\\n") == ["a>=2"]
    assert unmet(["missing>=1"], "a==1.9 \\\n") == ["missing>=1"]


def test_the_lock_names_no_address_and_no_path() -> None:
    assert re.findall(r"https?://\S+|(?:^|\s)/\S+", LOCK) == []
    unhashed = [line for line in re.findall(r"(?m)^\S+==.*(?:\n    --hash.*)?", LOCK) if "sha256:" not in line]
    assert unhashed == []


def test_the_compose_file_follows_the_compose_specification() -> None:
    assert tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml") == ""


def test_the_image_follows_hadolint() -> None:
    assert tool("hadolint", "Dockerfile") == ""


def test_the_image_holds_what_it_needs_and_no_more() -> None:
    wanted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set(re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text()))
    assert wanted == {name for names in copied for name in names.split()}
    assert all((ROOT / name).exists() for name in wanted)


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_each_service_is_as_narrow_as_it_can_be(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service.get("read_only") or name.startswith("kafka-")
    assert service["user"].split(":")[0] not in {"", "0", "root"}
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] in {"unless-stopped", "on-failure"}
    assert "healthcheck" in service
    assert {"mem_limit", "pids_limit", "logging"} <= service.keys()
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_services_run_as_the_image_means_it(name: str) -> None:
    assert OURS[name]["user"] == "10001:10001"
    assert "USER 10001:10001" in (ROOT / "Dockerfile").read_text()


def test_images_of_others_are_pinned() -> None:
    images = {service["image"] for service in COMPOSE["services"].values()} - {"phonon-events"}
    assert [image for image in images if not re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", image)] == []


def test_what_is_mounted_is_there() -> None:
    mounts = [mount for service in COMPOSE["services"].values() for mount in service.get("volumes", [])]
    files = [mount.split(":") for mount in mounts if mount.startswith("./")]
    assert files
    assert [source for source, _, mode in files if mode != "ro" or not (ROOT / source).exists()] == []
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith((".", "/"))}
    assert named == COMPOSE["volumes"].keys()


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    folder = ROOT / "deploy/grafana"
    (source,) = yaml(folder / "provisioning/datasources/prometheus.yml")["datasources"]
    dashboard = json.loads((folder / "dashboard.json").read_text())
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"] if panel["type"] != "row"} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml(folder / "provisioning/dashboards/phonon-events.yml")["providers"]
    assert (
        f"./deploy/grafana/dashboard.json:{provider['options']['path']}/dashboard.json:ro"
        in (COMPOSE["services"]["grafana"]["volumes"])
    )


def test_prometheus_asks_the_services_that_are_there() -> None:
    for job in yaml(ROOT / "deploy/prometheus/prometheus.yml")["scrape_configs"]:
        (found,) = job["dns_sd_configs"]
        assert found["names"] == [job["job_name"]]
        assert job["job_name"] in OURS
        assert str(found["port"]) == NAMES["PHONON_MANAGEMENT_PORT"].metadata["default"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_command_of_the_compose_file_exists(name: str) -> None:
    program = Path(sys.executable).with_name("phonon-events")
    command = [program, *OURS[name]["command"], "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment({}, {}))
    assert done.returncode == 0, done.stderr


def settings_named() -> Iterator[str]:
    """Yield each PHONON_ name that image and compose file set."""
    for service in OURS.values():
        yield from (name for name in service["environment"] if name.startswith("PHONON_"))
    yield from re.findall(r"PHONON_[A-Z_]+", (ROOT / "Dockerfile").read_text())


def test_each_setting_of_the_compose_file_is_one_of_ours() -> None:
    named = set(settings_named())
    assert named
    assert named <= {*NAMES, *FILES}


def test_the_receiver_of_the_compose_file_does_not_start_without_a_credential() -> None:
    environment = OURS["receiver"]["environment"]
    assert environment["PHONON_HOST"] == "0.0.0.0"
    assert environment["PHONON_TOKEN"].startswith("${PHONON_TOKEN:?")
    assert "PHONON_ALLOW_ANONYMOUS" not in environment


def started_with(name: str, **given: str) -> Settings:
    """A service's settings, where this stands in `.env`."""
    environment = {key: str(value) for key, value in OURS[name]["environment"].items()}
    filled = {key: re.sub(r"\$\{(\w+):[^}]*\}", lambda m: given.get(m[1], ""), v) for key, v in environment.items()}
    return read_settings(filled)


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_service_of_the_compose_file_starts_with_a_token_and_no_more(name: str) -> None:
    assert started_with(name, PHONON_TOKEN="change-me").windows == read_settings({}).windows


def test_what_people_choose_reaches_the_service_that_goes_by_it() -> None:
    chosen = {"PHONON_NUMBERS": "pseudonymise", "PHONON_PSEUDONYM_KEY": "a key of ours", "PHONON_CONTENT": "drop"}
    receiver = started_with("receiver", **chosen)
    assert (receiver.numbers, receiver.pseudonym_key, receiver.content) == ("pseudonymise", "a key of ours", "drop")
    asked = {"PHONON_BASIC_AUTH": "u:p", "PHONON_ALLOWED_IPS": "203.0.113.7", "PHONON_TRUSTED_PROXIES": "172.18.0.1"}
    guarded = started_with("receiver", PHONON_TOKEN="change-me", **asked)
    assert (guarded.basic_auth, guarded.token) == ("u:p", "change-me")
    assert [str(one) for one in (*guarded.allowed_ips, *guarded.trusted_proxies)] == ["203.0.113.7/32", "172.18.0.1/32"]
    rules = "/etc/phonon/alerts.toml"
    worker = started_with("metrics", **chosen, PHONON_ALERT_RULES=rules, PHONON_WINDOWS="15m", PHONON_GROUPS="g.csv")
    assert (worker.alert_rules, worker.groups, worker.pseudonym_key) == (Path(rules), Path("g.csv"), None)
    assert [window.name for window in worker.windows] == ["15m"]
    assert "./deploy:/etc/phonon:ro" in OURS["metrics"]["volumes"]
    assert (ROOT / "deploy/alerts.toml").exists()
    assert all(started_with(name, PHONON_RAW_TOPIC="true").raw_topic for name in ("receiver", "topics"))


def test_a_metrics_worker_can_be_scaled() -> None:
    assert not {"container_name", "ports"} & OURS["metrics"].keys()
