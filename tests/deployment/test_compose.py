"""The stack's Compose file keeps what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from feature_pipeline.gateway.access import SCOPES as FEATURES_SCOPES
from feature_pipeline.settings import FeatureSettings
from inference_pipeline.http.access import SCOPES as INFERENCE_SCOPES
from inference_pipeline.settings import InferenceSettings
from shared.settings import Settings, load_settings
from shared.tokens import read_tokens
from training_pipeline.settings import TrainingSettings

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, type[Settings]] = {
    "fti/features": FeatureSettings,
    "fti/training": TrainingSettings,
    "fti/inference": InferenceSettings,
}
_VARIABLE = re.compile(r"\$\{(\w+)(?::?([-?])((?:[^{}]|\{[^{}]*\})*))?\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return content


def filled(text: str) -> str:
    """Return a value with its variables' defaults, and a password where there is none."""
    return _VARIABLE.sub(lambda found: found[3] or "" if found[2] == "-" else "secret0", text)


def make_secrets(folder: Path, umask: int = 0o022) -> None:
    """Run the command that makes what is missing in a folder."""
    script = str(ROOT / "deploy" / "stack" / "secret_files.py")
    command = [sys.executable, script, "--folder", str(folder)]
    subprocess.run(command, check=True, capture_output=True, umask=umask)


def test_only_loopback_is_published(compose: dict[str, Any]) -> None:
    """No port can be reached from other machines, and those of the stores from nowhere."""
    published = {}
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
            published[name] = port
    assert published.keys() == {"gateway", "training", "inference", "mlflow", "prometheus"}
    assert compose["networks"]["data"] == {"internal": True}
    for store in ("redis", "postgres"):
        assert compose["services"][store]["networks"] == ["data"]


def test_services_are_watched_limited_and_started_in_order(compose: dict[str, Any]) -> None:
    """Each has a health check, limits and a restart policy, and starts after who it needs."""
    for name, service in compose["services"].items():
        assert service["healthcheck"], name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        assert service["restart"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        for needed, how in service.get("depends_on", {}).items():
            job = needed == "apply"
            expected = "service_completed_successfully" if job else "service_healthy"
            assert how == {"condition": expected}, (name, needed)


def test_own_containers_may_do_little(compose: dict[str, Any]) -> None:
    """The project's own run without capabilities, on a file system that they cannot write."""
    own = {n: s for n, s in compose["services"].items() if s["image"].startswith("fti/")}
    assert len(own) > 5
    for name, service in own.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["pull_policy"] == "never", f"{name}: of whichever registry"


def test_settings_are_the_services_own(compose: dict[str, Any]) -> None:
    """Each service takes the variables that are set for it: none is unknown or of no use."""
    for service in compose["services"].values():
        kind = SETTINGS.get(service["image"].partition(":")[0])
        if kind is not None:
            environment = {k: filled(str(v)) for k, v in service["environment"].items()}
            assert load_settings(kind, environment).mlflow_uri == "http://mlflow:5000"


def test_example_tells_every_setting(compose: dict[str, Any]) -> None:
    """`.env.example` lists each variable with the value that it has when it is left out."""
    files = (ROOT / "docker-compose.yml", ROOT / "deploy" / "compose.gpu.yml")
    text = "".join(path.read_text() for path in files)
    used = {name: default for name, _, default in _VARIABLE.findall(text)}
    example = dict(re.findall(r"(?m)^#?(\w+)=(.*)$", (ROOT / ".env.example").read_text()))
    used["COMPOSE_FILE"] = "docker-compose.yml"  # Compose's own
    assert example.keys() == used.keys() - {"SECRETS_FOLDER", "SOURCE_COMMIT"}
    passwords = {name for name, value in example.items() if not value}
    assert all(name.endswith("_PASSWORD") for name in passwords)
    for name, value in example.items():
        assert name in passwords or used[name] == value, name
    assert compose["services"]["redis"]["image"] == "${REDIS_IMAGE:-redis:7}"


def test_gpu_worker_is_built_as_the_others(compose: dict[str, Any]) -> None:
    """Its image differs in torch alone."""
    gpu = yaml.safe_load((ROOT / "deploy" / "compose.gpu.yml").read_text())
    own = gpu["services"]["training-worker"]["build"]
    build = compose["services"]["training"]["build"]
    assert own.keys() == build.keys()
    assert own["args"] == build["args"] | {"TORCH_INDEX": ""}


def test_secrets_are_made_where_there_are_none(tmp_path: Path) -> None:
    """Passwords and tokens are random, closed to others, and known to the services."""
    make_secrets(tmp_path)
    environment = (tmp_path / ".env").read_text()
    passwords = re.findall(r"(?m)^\w+_PASSWORD=(\w{48})$", environment)
    assert len(set(passwords)) == 5
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    secrets = tmp_path / ".secrets"
    assert secrets.stat().st_mode & 0o077 == 0
    client = (secrets / "client.token").read_bytes()
    for service, scopes, needed in (
        ("features", FEATURES_SCOPES, {"events", "metrics"}),
        ("inference", INFERENCE_SCOPES, {"predict", "models", "metrics"}),
    ):
        book = read_tokens(secrets / f"{service}.tokens", scopes=scopes, setting="x")
        found = book.find(client)
        assert found is not None
        assert found.scopes == needed
        watcher = book.find((secrets / "metrics.token").read_bytes())
        assert watcher is not None
        assert watcher.scopes == {"metrics"}


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_containers_read_their_secrets(tmp_path: Path, umask: int) -> None:
    """What is mounted can be read as any user, and nothing else, whatever the umask."""
    make_secrets(tmp_path, umask)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / ".secrets").iterdir()}
    assert modes == {
        "client.token": 0o600,
        "metrics.token": 0o644,
        "features.tokens": 0o644,
        "inference.tokens": 0o644,
        "training.tokens": 0o644,
    }


def test_token_made_anew_leaves_other_lines(tmp_path: Path) -> None:
    """A token that was deleted gets its line anew; lines that were added by hand stay."""
    make_secrets(tmp_path)
    secrets = tmp_path / ".secrets"
    path = secrets / "inference.tokens"
    path.write_text(f"# ours\n{path.read_text()}shop predict sha256:{'0' * 64}\n")
    before = path.read_text().splitlines()
    (secrets / "client.token").unlink()
    make_secrets(tmp_path)
    after = path.read_text().splitlines()
    digest = sha256((secrets / "client.token").read_bytes()).hexdigest()
    assert after == [
        f"client predict,models,metrics sha256:{digest}" if line.startswith("client ") else line
        for line in before
    ]
    assert after != before


def test_secrets_that_are_there_stay(tmp_path: Path) -> None:
    """Run again, nothing changes; a service's file that was deleted is made for the same tokens."""
    make_secrets(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / ".secrets" / "features.tokens").unlink()
    make_secrets(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
