"""Model registries: what aliases name, and the files of versions. One suite for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from inference_pipeline.versions.registry import (
    InMemoryRegistry,
    MlflowRegistry,
    ModelRegistry,
    ModelVersion,
    RegistryUnreachableError,
)
from shared.feature_store import FeatureService
from shared.manifest import read_manifest
from shared.model_registry import tracking_uri
from shared.places import Places
from tests.inference.registry_files import MODEL, Publisher
from tests.inference.tiny_model import TinyModel


@dataclass(frozen=True)
class Filled:
    """A registry, and how to change what it holds."""

    registry: ModelRegistry
    register: Callable[[], str]
    """Registers a version and returns its number."""
    point: Callable[[str, str], None]
    """Moves an alias to a version."""
    tag: Callable[[str, str, str], None]
    """Sets a tag of a version."""
    lose_artifacts: Callable[[], None]


def mlflow(home: Path, service: FeatureService) -> Filled:
    publisher = Publisher(home, service)
    artifacts = home / "mlflow" / "artifacts"

    def lose_artifacts() -> None:
        artifacts.rename(artifacts.with_name("away"))

    return Filled(
        MlflowRegistry(tracking_uri(Places.embedded(home))),
        register=lambda: publisher.register(TinyModel()),
        point=publisher.point,
        tag=lambda v, key, value: publisher.client.set_model_version_tag(MODEL, v, key, value),
        lose_artifacts=lose_artifacts,
    )


def in_memory(home: Path, service: FeatureService) -> Filled:
    registry = InMemoryRegistry()
    files = TinyModel().write(home / "files", service)

    def version(number: str) -> ModelVersion:
        found = registry.version(MODEL, number)
        assert found is not None
        return found

    def lose_artifacts() -> None:
        files.rename(files.with_name("away"))

    return Filled(
        registry,
        register=lambda: registry.register(MODEL, files).version,
        point=lambda alias, number: registry.point(alias, version(number)),
        tag=lambda number, key, value: registry.tag(version(number), key, value),
        lose_artifacts=lose_artifacts,
    )


@pytest.fixture(params=[mlflow, in_memory])
def filled(request: pytest.FixtureRequest, home: Path, feature_service: FeatureService) -> Filled:
    """A registry of each kind that holds nothing yet."""
    made: Filled = request.param(home, feature_service)
    return made


def test_an_unknown_model_and_an_unnamed_version_have_no_alias(filled: Filled) -> None:
    """Before the first training, and before the first that passed, aliases name nothing."""
    assert filled.registry.aliases(MODEL) == {}
    filled.register()
    assert filled.registry.aliases(MODEL) == {}


def test_aliases_name_versions(filled: Filled) -> None:
    """Each alias decides for itself, and the newest version is nothing special."""
    for _ in range(3):
        filled.register()
    filled.point("champion", "2")
    filled.point("challenger", "3")
    filled.point("previous", "1")
    named = filled.registry.aliases(MODEL)
    numbers = {alias: found.version.version for alias, found in named.items()}
    assert numbers == {"champion": "2", "challenger": "3", "previous": "1"}
    filled.point("champion", "1")
    named = filled.registry.aliases(MODEL)
    assert named["champion"] == named["previous"]


def test_tags_come_with_the_alias(filled: Filled) -> None:
    """Tags of a version that an alias names are read with it."""
    filled.point("challenger", filled.register())
    filled.tag("1", "traffic_share", "0.25")
    assert filled.registry.aliases(MODEL)["challenger"].tags["traffic_share"] == "0.25"


def test_a_version_is_found_by_its_number(filled: Filled) -> None:
    """What an alias names is the same version as what its number finds."""
    filled.point("champion", filled.register())
    assert filled.registry.version(MODEL, "1") == filled.registry.aliases(MODEL)["champion"].version
    assert filled.registry.version(MODEL, "2") is None
    assert filled.registry.version("nobody", "1") is None


@pytest.mark.parametrize("number", ["one", "", "1.5", "-1"])
def test_what_is_no_number_finds_no_version(filled: Filled, number: str) -> None:
    """Whatever a client sends as a version is looked for, and not found."""
    filled.register()
    assert filled.registry.version(MODEL, number) is None


def test_files_come_complete(filled: Filled, tmp_path: Path) -> None:
    """A version's files lie flat in the folder that was asked for."""
    filled.point("champion", filled.register())
    folder = tmp_path / "files of 1"
    folder.mkdir()
    filled.registry.download(filled.registry.aliases(MODEL)["champion"].version, folder)
    assert read_manifest(folder).task == MODEL
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json",
        "model.onnx",
        "tokenizer.json",
    }


def test_artifacts_that_are_gone_are_an_error_that_says_try_again(
    filled: Filled, tmp_path: Path
) -> None:
    """A registry whose artefact store is away is unreachable for downloads."""
    filled.point("champion", filled.register())
    version = filled.registry.aliases(MODEL)["champion"].version
    filled.lose_artifacts()
    with pytest.raises(RegistryUnreachableError, match="tiny version 1"):
        filled.registry.download(version, tmp_path)


def test_a_registry_that_is_broken_is_unreachable(tmp_path: Path) -> None:
    """A database that cannot be read is told as such, not as a missing champion."""
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "mlflow.db").write_text("this is no database" * 100)
    broken = MlflowRegistry(tracking_uri(Places.embedded(tmp_path)))
    with pytest.raises(RegistryUnreachableError, match="model registry"):
        broken.aliases(MODEL)
