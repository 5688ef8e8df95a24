"""Versions on this machine's disk: fetched once, whole or not at all, and not kept for ever."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from inference_pipeline.versions.local_versions import LocalVersions
from inference_pipeline.versions.registry import (
    InMemoryRegistry,
    ModelVersion,
    NamedVersion,
    RegistryUnreachableError,
)
from shared.feature_store import FeatureService
from shared.manifest import read_manifest
from tests.inference.registry_files import MODEL
from tests.inference.tiny_model import TinyModel

GRACE = timedelta(minutes=10)


@pytest.fixture
def files(tmp_path: Path, feature_service: FeatureService) -> Path:
    """The files of a version, as the registry has them."""
    return TinyModel().write(tmp_path / "registered", feature_service)


@pytest.fixture
def registry() -> InMemoryRegistry:
    """A registry that holds nothing yet."""
    return InMemoryRegistry()


@pytest.fixture
def local(tmp_path: Path, registry: InMemoryRegistry) -> LocalVersions:
    """An empty disk."""
    return LocalVersions(registry, tmp_path / "models", grace=GRACE)


def age(folder: Path) -> None:
    """Make a folder look as if it was fetched before the grace began."""
    old = time.time() - GRACE.total_seconds() - 1
    os.utime(folder, (old, old))


def test_a_version_is_downloaded_once(
    local: LocalVersions, registry: InMemoryRegistry, files: Path
) -> None:
    """Files come complete and unchanged, and are not fetched again."""
    version = registry.register(MODEL, files)
    folder = local.fetch(version)
    assert read_manifest(folder).task == MODEL
    # Had it been fetched again, the mark would be gone.
    (folder / "mark").touch()
    assert local.fetch(version) == folder
    assert (folder / "mark").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_damaged_copy_is_replaced(
    local: LocalVersions, registry: InMemoryRegistry, files: Path
) -> None:
    """What was damaged on this disk is fetched again."""
    version = registry.register(MODEL, files)
    (local.fetch(version) / "model.onnx").write_bytes(b"")
    assert read_manifest(local.fetch(version)).task == MODEL


def test_an_interrupted_download_leaves_no_version(
    local: LocalVersions, registry: InMemoryRegistry, files: Path, tmp_path: Path
) -> None:
    """What did not come whole is not there at all, and comes the next time."""
    version = registry.register(MODEL, files)
    files.rename(tmp_path / "away")
    with pytest.raises(RegistryUnreachableError):
        local.fetch(version)
    assert list((tmp_path / "models" / MODEL).iterdir()) == []
    (tmp_path / "away").rename(files)
    assert read_manifest(local.fetch(version)).task == MODEL


def test_what_nobody_keeps_is_pruned(
    local: LocalVersions, registry: InMemoryRegistry, files: Path
) -> None:
    """Old folders go, with what downloads left behind; what is kept or new stays."""
    kept, gone, new = (registry.register(MODEL, files) for _ in range(3))
    folders = {version: local.fetch(version) for version in (kept, gone, new)}
    unfinished = folders[gone].with_name(".download-killed")
    unfinished.mkdir()
    for folder in (folders[kept], folders[gone], unfinished):
        age(folder)
    local.prune(MODEL, [kept])
    assert folders[kept].is_dir()
    assert folders[new].is_dir()
    assert not folders[gone].exists()
    assert not unfinished.exists()


def test_a_fetched_version_is_new_again(
    local: LocalVersions, registry: InMemoryRegistry, files: Path
) -> None:
    """A version that was just fetched is about to be loaded, however long it has been here."""
    version = registry.register(MODEL, files)
    age(local.fetch(version))
    folder = local.fetch(version)
    local.prune(MODEL, [])
    assert folder.is_dir()


def test_pruning_other_models_touches_none_of_this(
    local: LocalVersions, registry: InMemoryRegistry, files: Path
) -> None:
    """Models share the disk, and nothing on it; one that was never fetched has nothing to prune."""
    folder = local.fetch(registry.register(MODEL, files))
    age(folder)
    local.prune("another", [])
    assert folder.is_dir()


def test_the_last_good_versions_are_remembered(
    tmp_path: Path, local: LocalVersions, registry: InMemoryRegistry, files: Path
) -> None:
    """Another process reads what this one wrote, tags included, and the latest counts."""
    version = registry.register(MODEL, files)
    local.fetch(version)
    assert local.last_good(MODEL) == {}
    for share in ("0.1", "0.2"):
        served = {
            "champion": NamedVersion(version),
            "challenger": NamedVersion(ModelVersion(MODEL, "2", 22), {"traffic_share": share}),
        }
        local.remember(MODEL, served)
    assert LocalVersions(registry, tmp_path / "models").last_good(MODEL) == served


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"champion": 1}', b"\xff", b"1"])
def test_what_cannot_be_read_is_nothing_to_go_by(
    tmp_path: Path, local: LocalVersions, content: bytes
) -> None:
    """A damaged note costs the restart without a registry, not the start."""
    (tmp_path / "models" / MODEL).mkdir(parents=True)
    (tmp_path / "models" / MODEL / "last_good.json").write_bytes(content)
    assert local.last_good(MODEL) == {}
