"""The Dockerfiles are clean, and hold what their services need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))
PACKAGES = {
    "features": "feature_pipeline",
    "training": "training_pipeline",
    "inference": "inference_pipeline",
}


def test_one_for_each_service() -> None:
    """Each service has its own, and so has the MLflow server."""
    assert {path.stem for path in DOCKERFILES} == {*PACKAGES, "mlflow"}


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    """The linter of Dockerfiles has nothing to say."""
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, dockerfile], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("service", PACKAGES)
def test_holds_its_service_alone(service: str) -> None:
    """An image gets the code of its service and what that stands on, as nobody in particular."""
    text = (ROOT / "deploy" / "docker" / f"{service}.Dockerfile").read_text()
    copied = {line.split()[1] for line in text.splitlines() if line.startswith("COPY ")}
    code = {name for name in copied if (ROOT / name / "__init__.py").exists()}
    assert code == {"shared", "feast_polars_delta", PACKAGES[service]}
    assert "USER 10001:10001" in text


def test_inference_has_no_training_library() -> None:
    """Serving is installed without torch, transformers, and what only scoring needs."""
    lines = (ROOT / "requirements" / "inference.txt").read_text().splitlines()
    names = {line.split("[")[0].split("=")[0].split("#")[0].strip() for line in lines}
    assert names.isdisjoint({"torch", "transformers", "mlflow", "polars", "-r training.txt"})
