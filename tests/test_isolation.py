"""Each service starts with nothing but itself, shared and what its requirements name."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SERVICES = {
    "feature_pipeline": ("features", "FTI_FEATURES_PORT"),
    "training_pipeline": ("training", "FTI_TRAINING_PORT"),
    "inference_pipeline": ("inference", "FTI_INFERENCE_PORT"),
}
# Runs a module with some packages made impossible to import.
RUNNER = """
import json, runpy, sys
for name in json.loads(sys.argv[1]):
    sys.modules[name] = None
module = sys.argv[2]
sys.argv = [module, "serve"]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def closure(requirements: Path) -> set[str]:
    """Return the distributions that a requirements file brings, with all that they need."""
    wanted = [
        Requirement(line.split("#")[0])
        for line in requirements.read_text().splitlines()
        if line.split("#")[0].strip()
    ]
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        found.add(name)
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # for another platform, or replaced by what is installed
        for text in needs:
            need = Requirement(text)
            extras = requirement.extras or {""}
            if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in extras):
                wanted.append(need)
    return found


def forbidden_modules(service: str, requirements: Path) -> list[str]:
    """Return every importable package that the service's requirements do not bring."""
    allowed = closure(requirements)
    others = [
        module
        for module, distributions in packages_distributions().items()
        if not any(canonicalize_name(name) in allowed for name in distributions)
    ]
    return sorted({*others, *(name for name in SERVICES if name != service)})


@pytest.mark.parametrize("service", SERVICES)
def test_service_starts_alone(service: str, tmp_path: Path) -> None:
    """The process lives and answers, though nothing else of the project can be imported."""
    requirements, port_variable = SERVICES[service]
    for folder in ("shared", "feast_polars_delta", "tasks", service):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    forbidden = forbidden_modules(service, ROOT / "requirements" / f"{requirements}.txt")
    assert "pytest" in forbidden
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name[:4] != "FTI_"}
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, json.dumps(forbidden), service],
        cwd=tmp_path,
        env=environment | {port_variable: str(port), "PYTHONPATH": ""},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert _answers(f"http://127.0.0.1:{port}/healthz", process)
    finally:
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert "Traceback" not in said, said


def _answers(url: str, process: subprocess.Popen[str]) -> bool:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - loopback
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False
