"""The manifests are Kubernetes', narrow, and name only what there is: commands, settings, ports, paths, each other."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from app.listen import GRACEFUL_SECONDS, LINGER_SECONDS
from schemas.settings import FILES, NAMES, read_settings
from tests.processes import clean_environment

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy/kubernetes"
OLDEST, NEWEST = "1.29.0", "1.37.0"
SPOOL_STOP_SECONDS = 5
Manifest = dict[str, Any]


def documents(path: Path) -> list[Manifest]:
    """The documents of a YAML file."""
    return list(YAML(typ="safe").load_all(path))


KUSTOMIZATION = documents(FOLDER / "kustomization.yaml")[0]
MANIFESTS = [document for name in KUSTOMIZATION["resources"] for document in documents(FOLDER / name)]
CONFIG = next(one for one in MANIFESTS if one["kind"] == "ConfigMap")
WORKLOADS = {one["metadata"]["name"]: one for one in MANIFESTS if one["kind"] in {"StatefulSet", "Deployment", "Job"}}


def of_kind(kind: str) -> list[Manifest]:
    return [one for one in MANIFESTS if one["kind"] == kind]


def pod(name: str) -> Manifest:
    spec: Manifest = WORKLOADS[name]["spec"]["template"]["spec"]
    return spec


def container(name: str) -> Manifest:
    (only,) = pod(name)["containers"]
    made: Manifest = only
    return made


def environment(name: str) -> dict[str, str]:
    assert container(name)["envFrom"] == [{"configMapRef": {"name": CONFIG["metadata"]["name"]}}]
    return {**CONFIG["data"]} | {one["name"]: one["value"] for one in container(name).get("env", [])}


def selected(labels: dict[str, str]) -> set[str]:
    """The workloads whose pods have these labels."""
    templates = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in WORKLOADS.items()}
    return {name for name, carried in templates.items() if labels.items() <= carried.items()}


def ports(name: str) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container(name).get("ports", [])}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
def test_each_manifest_keeps_to_the_schema_of_kubernetes(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_manifest_can_break_the_schema() -> None:
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"port": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


def test_the_kustomization_holds_every_file() -> None:
    assert {*KUSTOMIZATION["resources"], "kustomization.yaml"} == {path.name for path in FOLDER.iterdir()}
    images = {image["name"] for image in KUSTOMIZATION["images"]}
    assert {container(name)["image"] for name in WORKLOADS} == images


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here")
def test_kubectl_builds_it() -> None:
    done = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nkind: ") == len(MANIFESTS)


@pytest.mark.parametrize("name", WORKLOADS)
def test_each_pod_is_as_narrow_as_it_can_be(name: str) -> None:
    assert pod(name)["securityContext"].items() >= {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }.items()  # fmt: skip
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(name)["automountServiceAccountToken"] is False
    assert "memory" in container(name)["resources"]["limits"]


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_pod_gets_settings_from_the_names_of_services(name: str) -> None:
    """Service links would put KAFKA_PORT or PHONON_..._HOST into the environment."""
    assert pod(name)["enableServiceLinks"] is False


@pytest.mark.parametrize("name", WORKLOADS)
def test_each_command_and_each_setting_is_one_of_ours(name: str, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("phonon-events")
    command = [program, *container(name)["args"], "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment({}, {}))
    assert done.returncode == 0, done.stderr
    given = environment(name)
    assert {setting for setting in given if setting.startswith("PHONON_")} <= {*NAMES, *FILES}
    secret = tmp_path / "token"
    secret.write_text("long-enough")
    read_settings({key: str(secret) if key in FILES else value for key, value in given.items()})


@pytest.mark.parametrize("name", WORKLOADS)
def test_what_is_written_to_is_a_volume(name: str) -> None:
    mounts = {mount["mountPath"]: mount["name"] for mount in container(name)["volumeMounts"]}
    claims = {claim["metadata"]["name"] for claim in WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])}
    volumes = {volume["name"]: volume for volume in pod(name)["volumes"]}
    assert set(mounts.values()) == {*claims, *volumes}
    assert "emptyDir" in volumes[mounts["/tmp"]]
    folders = dict(re.findall(r"(PHONON_\w+_DIR)=(\S+)", (ROOT / "Dockerfile").read_text()))
    if name == "receiver":
        assert mounts[folders["PHONON_SPOOL_DIR"]] in claims
    if name == "metrics":
        assert folders["PHONON_STATE_DIR"] in mounts
    for setting, path in environment(name).items():
        if setting in FILES:
            assert "secret" in volumes[mounts[str(Path(path).parent)]]


def test_rules_and_groups_are_files_where_the_settings_would_name_them() -> None:
    named = dict(re.findall(r"# (PHONON_\w+): (/\S+)", (ROOT / "deploy/kubernetes/settings.yaml").read_text()))
    assert named.keys() == {"PHONON_ALERT_RULES", "PHONON_GROUPS"} <= NAMES.keys()
    mounts = {mount["mountPath"]: mount["name"] for mount in container("metrics")["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod("metrics")["volumes"]}
    folders = {str(Path(path).parent) for path in named.values()}
    assert all(volumes[mounts[folder]]["configMap"]["optional"] for folder in folders)


def test_what_selects_pods_finds_them_and_their_ports() -> None:
    for service in of_kind("Service"):
        (name,) = selected(service["spec"]["selector"])
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports(name).keys()
        assert all(port["port"] == ports(name)[port["targetPort"]] for port in service["spec"]["ports"])
    for budget in of_kind("PodDisruptionBudget"):
        assert selected(budget["spec"]["selector"]["matchLabels"]) == {budget["metadata"]["name"]}
    for policy in of_kind("NetworkPolicy"):
        (name,) = selected(policy["spec"]["podSelector"]["matchLabels"])
        assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} == ports(name).keys()
    for name, one in WORKLOADS.items():
        if one["kind"] != "Job":
            assert selected(one["spec"]["selector"]["matchLabels"]) == {name}


def test_what_there_are_several_of_is_never_all_gone() -> None:
    several = {name for name, one in WORKLOADS.items() if one["spec"].get("replicas", 1) > 1}
    assert {budget["metadata"]["name"] for budget in of_kind("PodDisruptionBudget")} == several
    assert several == {"receiver", "metrics"}


@pytest.mark.parametrize("name", [name for name, one in WORKLOADS.items() if one["kind"] != "Job"])
def test_probes_ask_what_is_served(name: str) -> None:
    probes = {kind: container(name)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    paths = {kind: probe["path"] for kind, probe in probes.items()}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    port, setting = (
        ("page", "PHONON_DASHBOARD_PORT") if name == "dashboard" else ("management", "PHONON_MANAGEMENT_PORT")
    )
    assert {probe["port"] for probe in probes.values()} == {port}
    assert str(ports(name)[port]) == NAMES[setting].metadata["default"]


def test_the_receiver_has_time_to_stop() -> None:
    (sleep, seconds) = container("receiver")["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    needed = int(seconds) + LINGER_SECONDS + GRACEFUL_SECONDS + SPOOL_STOP_SECONDS
    assert pod("receiver")["terminationGracePeriodSeconds"] > needed + 10
    compose = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]["receiver"]
    assert int(compose["stop_grace_period"].removesuffix("s")) > needed - int(seconds)


def test_the_spool_fits_its_volume_and_stays() -> None:
    receiver = WORKLOADS["receiver"]["spec"]
    (claim,) = receiver["volumeClaimTemplates"]
    size = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) * 2**30
    assert int(environment("receiver")["PHONON_SPOOL_MAX_BYTES"]) < 0.9 * size
    assert set(receiver["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}


def test_the_page_asks_each_receiver() -> None:
    receiver = WORKLOADS["receiver"]["spec"]
    each = [f"http://receiver-{n}.{receiver['serviceName']}:9100/metrics" for n in range(receiver["replicas"])]
    assert environment("dashboard")["PHONON_RECEIVER_METRICS_URL"].split() == each
