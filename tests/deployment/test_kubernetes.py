"""The manifests of Kubernetes say what they must, and say it as its API has it."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest

from feature_pipeline.settings import FeatureSettings
from inference_pipeline.settings import InferenceSettings
from shared.settings import SERVICE_PREFIXES, Settings, load_settings
from tests.deployment.kustomization import Manifest, build, pod_of
from training_pipeline.settings import TrainingSettings

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
TRAINING_JOB = build(FOLDER / "training-job")
"""Applied by hand, beside the overlay `cloud`."""
VERSION = "1.33"
SETTINGS: dict[str, type[Settings]] = {
    "features": FeatureSettings,
    "training": TrainingSettings,
    "inference": InferenceSettings,
}
FROM_OUTSIDE = {
    "Secret": {
        "fti-stores",
        "fti-tokens",
        "fti-databases",
        "fti-object-storage",
        "fti-kafka",
    },
    "ConfigMap": {"fti-task", "postgres-init"},
}
"""What is made by hand, since it is secret or the deployment's own; the documents list it."""
SAMPLES = {
    "FTI_ONLINE_STORE": "redis://:secret@redis:6379/0",
    "FTI_FEATURE_REGISTRY": "postgresql+psycopg://feast:secret@postgres:5432/feast",
    "FTI_FEATURES_LOG": "redis://:secret@redis:6379/1",
    "FTI_TRAINING_BROKER": "redis://:secret@redis:6379/2",
    "FTI_TRAINING_RUNS": "postgresql+psycopg://training:secret@postgres:5432/training",
}
"""What those secrets may hold."""


@pytest.fixture(scope="module", params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    found = build(FOLDER / "overlays" / request.param)
    return [*found, *TRAINING_JOB] if request.param == "cloud" else found


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the pods' templates by the name of what makes them."""
    return {
        manifest["metadata"]["name"]: pod
        for manifest in manifests
        if (pod := pod_of(manifest)) is not None
    }


def test_schema(manifests: list[Manifest]) -> None:
    """Each manifest fits the schema of Kubernetes' API, which knows each of its fields."""
    for manifest in manifests:
        kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_every_file_is_used() -> None:
    """No manifest lies beside the kustomizations unread."""
    named = set()
    for kustomization in FOLDER.rglob("kustomization.yaml"):
        lines = kustomization.read_text().splitlines()
        named |= {
            kustomization.parent / line.strip("- ").strip()
            for line in lines
            if line.strip().startswith("- ") and line.endswith(".yaml")
        }
        named |= {
            kustomization.parent / name.strip(" []")
            for line in lines
            if line.startswith("resources: [")
            for name in line.partition(":")[2].split(",")
        }
    files = {path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml"}
    assert files == named


def test_pods_may_do_little(manifests: list[Manifest]) -> None:
    """Pods run as nobody in particular, on a file system that they cannot write, with limits."""
    for name, pod in pods(manifests).items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"], name
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name
            assert container["resources"]["requests"]["cpu"], name
            assert ":" in container["image"], f"{name}: an image without a tag"


def test_settings_are_the_services_own(manifests: list[Manifest]) -> None:
    """Each service takes the variables that its pod sets: none is unknown or of no use."""
    settings = next(m for m in manifests if m["kind"] == "ConfigMap")["data"]
    for name, pod in pods(manifests).items():
        container = pod["spec"]["containers"][0]
        service = container["image"].rpartition("/")[2].partition(":")[0]
        if service not in SETTINGS:
            continue
        environment = dict(settings)
        for variable in container["env"]:
            assert ("value" in variable) != ("valueFrom" in variable), (name, variable)
            environment[variable["name"]] = variable.get("value") or SAMPLES.get(
                variable["name"], "0"
            )
        known = load_settings(SETTINGS[service], environment)
        assert known.mlflow_uri == "http://mlflow:5000"
        own = f"FTI_{service.upper()}_"
        strangers = [
            key
            for key in environment
            if key.startswith(SERVICE_PREFIXES) and not key.startswith(own)
        ]
        assert strangers == [], name


def test_secrets_by_reference(manifests: list[Manifest]) -> None:
    """No manifest holds a secret; what they refer to is in another manifest or in the documents."""
    made = {(m["kind"], m["metadata"]["name"]) for m in manifests}
    assert not [name for kind, name in made if kind == "Secret"]
    for name, pod in pods(manifests).items():
        for kind, found in references(pod["spec"]):
            assert (kind, found) in made or found in FROM_OUTSIDE.get(kind, set()), (name, found)
    documents = (FOLDER.parents[1] / "docs" / "kubernetes.md").read_text()
    for found in FROM_OUTSIDE["Secret"] | FROM_OUTSIDE["ConfigMap"]:
        assert found in documents


def references(spec: Manifest) -> list[tuple[str, str]]:
    """Return the kinds and names of what a pod refers to."""
    volumes = spec.get("volumes", [])
    found = [
        (kind, volume[word][name])
        for volume in volumes
        for word, kind, name in (
            ("secret", "Secret", "secretName"),
            ("configMap", "ConfigMap", "name"),
            ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
        )
        if word in volume
    ]
    claimed = {"data", "home"}  # of a StatefulSet's volumeClaimTemplates
    for container in spec["containers"]:
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted - claimed <= {volume["name"] for volume in volumes}
        keys = [variable.get("valueFrom", {}) for variable in container.get("env", [])]
        found += [("Secret", key["secretKeyRef"]["name"]) for key in keys if "secretKeyRef" in key]
        for source in container.get("envFrom", []):
            kind = "Secret" if "secretRef" in source else "ConfigMap"
            found.append(
                (kind, source["secretRef" if kind == "Secret" else "configMapRef"]["name"])
            )
    return found


def test_selectors_hit_pods(manifests: list[Manifest]) -> None:
    """Services, budgets, policies and the autoscaler are about pods that there are."""
    known = pods(manifests)
    names = {pod["metadata"]["labels"]["app.kubernetes.io/name"] for pod in known.values()}
    for manifest in manifests:
        spec = manifest.get("spec", {})
        labels = spec.get("podSelector", {}).get("matchLabels", {})
        if manifest["kind"] == "Service":
            labels = spec["selector"]
            ports = {
                port["name"]
                for pod in known.values()
                if pod["metadata"]["labels"]["app.kubernetes.io/name"]
                == manifest["metadata"]["name"]
                for port in pod["spec"]["containers"][0].get("ports", [])
            }
            assert {p["targetPort"] for p in spec["ports"] if "targetPort" in p} <= ports
        elif manifest["kind"] == "PodDisruptionBudget":
            labels = spec["selector"]["matchLabels"]
        elif manifest["kind"] == "HorizontalPodAutoscaler":
            assert spec["scaleTargetRef"]["name"] in known
        if "app.kubernetes.io/name" in labels:
            assert labels["app.kubernetes.io/name"] in names, manifest["metadata"]["name"]


def test_stream_addresses_are_those_of_its_pods(manifests: list[Manifest]) -> None:
    """The stream's processes are told an address for each replica."""
    stream = next(
        m for m in manifests if m["kind"] == "StatefulSet" and m["metadata"]["name"] == "stream"
    )
    arguments = stream["spec"]["template"]["spec"]["containers"][0]["args"]
    addresses = arguments[arguments.index("--addresses") + 1].split(",")
    replicas = range(stream["spec"]["replicas"])
    assert addresses == [f"stream-{index}.stream:2101" for index in replicas]
    # Replaced one after the other, each new one would wait for the rest of its cluster.
    assert stream["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_training_on_gpus_and_several_nodes() -> None:
    """In the cloud, workers ask for a GPU, and the job's pods find the first one by its name."""
    manifests = build(FOLDER / "overlays" / "cloud")
    worker = pods(manifests)["training-worker"]["spec"]
    assert not [m for m in manifests if m["metadata"]["name"] == "training-job"]
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert worker["nodeSelector"]
    deployment = next(
        m
        for m in manifests
        if m["kind"] == "Deployment" and m["metadata"]["name"] == "training-worker"
    )
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert worker["tolerations"]
    job = next(m for m in TRAINING_JOB if m["kind"] == "Job")
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert f"--nnodes={job['spec']['completions']}" in command
    subdomain = job["spec"]["template"]["spec"]["subdomain"]
    assert f"--master-addr=training-job-0.{subdomain}" in command
    # A gate that failed looks like a crash to torchrun: who tries again waits for hours.
    assert "--max-restarts=0" in command
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
