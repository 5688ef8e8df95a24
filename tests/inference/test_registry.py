"""Versions from MLflow onto this machine's disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference_pipeline.registry import MlflowRegistry, ModelVersion, RegistryUnreachableError
from shared.manifest import read_manifest
from shared.model_registry import tracking_uri
from tests.inference.registry_files import MODEL, Publisher
from tests.inference.tiny_model import TinyModel


@pytest.fixture
def registry(home: Path) -> MlflowRegistry:
    """The registry under the home."""
    return MlflowRegistry(tracking_uri(home), cache=home / "cache")


def champion(registry: MlflowRegistry) -> ModelVersion:
    """Return the champion, which must be there."""
    found = registry.champion(MODEL)
    assert found is not None
    return found


def test_no_model_and_no_alias_are_no_champion(
    registry: MlflowRegistry, publisher: Publisher
) -> None:
    """Before the first training, and before the first that passed, there is none."""
    assert registry.champion(MODEL) is None
    publisher.register(TinyModel())
    assert registry.champion(MODEL) is None


def test_the_champion_is_where_the_alias_points(
    registry: MlflowRegistry, publisher: Publisher
) -> None:
    """The alias decides, not the newest version."""
    publisher.register(TinyModel())
    publisher.register(TinyModel())
    publisher.crown("1")
    assert champion(registry).version == "1"


def test_a_version_is_downloaded_once(registry: MlflowRegistry, publisher: Publisher) -> None:
    """Files come complete and unchanged, and are not fetched again."""
    publisher.publish(TinyModel())
    folder = registry.fetch(champion(registry))
    assert read_manifest(folder).task == MODEL
    # Had it been fetched again, the mark would be gone.
    (folder / "mark").touch()
    assert registry.fetch(champion(registry)) == folder
    assert (folder / "mark").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_damaged_copy_is_replaced(registry: MlflowRegistry, publisher: Publisher) -> None:
    """What was damaged on this disk is fetched again."""
    publisher.publish(TinyModel())
    folder = registry.fetch(champion(registry))
    (folder / "model.onnx").write_bytes(b"")
    assert read_manifest(registry.fetch(champion(registry))).task == MODEL


def test_an_interrupted_download_leaves_no_version(
    registry: MlflowRegistry, publisher: Publisher
) -> None:
    """Artefacts that are gone are an error that says try again, and nothing is half there."""
    publisher.publish(TinyModel())
    version = champion(registry)
    artifacts = publisher.home / "mlflow" / "artifacts"
    artifacts.rename(artifacts.with_name("away"))
    with pytest.raises(RegistryUnreachableError, match="tiny version 1"):
        registry.fetch(version)
    artifacts.with_name("away").rename(artifacts)
    assert read_manifest(registry.fetch(version)).task == MODEL


def test_a_registry_that_is_broken_is_unreachable(tmp_path: Path) -> None:
    """A database that cannot be read is told as such, not as a missing champion."""
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "mlflow.db").write_text("this is no database" * 100)
    broken = MlflowRegistry(tracking_uri(tmp_path), cache=tmp_path)
    with pytest.raises(RegistryUnreachableError, match="model registry"):
        broken.champion(MODEL)
