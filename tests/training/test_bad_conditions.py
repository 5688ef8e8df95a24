"""Runs that cannot come to an end: each says what is wrong where, and loses nothing."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import FtiError, StateError
from tests.training.sample import (
    fill_feature_store,
    sample_mentions,
    task_text,
)
from training_pipeline.attempt import Attempt
from training_pipeline.progress import Silent
from training_pipeline.reproduction.code import CodeState
from training_pipeline.reproduction.record import Code
from training_pipeline.settings import TrainingSettings
from training_pipeline.stop import StopRequest

pytestmark = pytest.mark.usefixtures("one_core")


def attempt(home: Path, text: str, *, allow_dirty: bool = True, stage: str = "") -> None:
    """Try to train; where a stage is given, no file can grow from its beginning on."""
    (home / "task.toml").write_text(text)
    settings = TrainingSettings(home=home, training_allow_dirty=allow_dirty)
    progress = FillsTheDisk(stage)
    Attempt(home / "task.toml", "a test").run(settings, progress=progress, stop=StopRequest())


class FillsTheDisk(Silent):
    """Lets no file grow once a stage has begun."""

    def __init__(self, when: str) -> None:
        self._when = when

    def stage(self, name: str) -> None:
        """Fill it if this is the stage."""
        if name == self._when:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, hard))


@pytest.fixture
def disk_with_room() -> Iterator[None]:
    """Let files grow again when the test has ended."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("disk_with_room")
def test_a_full_disk_is_an_error_and_training_goes_on_later(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    """In a checkpoint, in the exported file, in the package: told, swept, and gone on with."""
    fill_feature_store(tmp_path, *sample_mentions(120))
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for stage, checkpoints in (("fit", 0), ("export", 1), ("gate", 1)):
        with pytest.raises(StateError, match=r"found File too large\. Make room") as raised:
            attempt(tmp_path, task_text(tiny_encoder), stage=stage)
        assert str(tmp_path) in raised.value.place
        assert not list((tmp_path / "training" / "making").iterdir())
        saved = (tmp_path / "training" / "checkpoints" / "flights").glob("*.pt")
        assert len(list(saved)) == checkpoints
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    attempt(tmp_path, task_text(tiny_encoder))


def test_code_with_changes_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read or trained, since nothing could be registered."""
    changed = CodeState(
        Code(commit="0" * 40, commit_from="git", dirty=True), b"+", ("training_pipeline/model.py",)
    )
    monkeypatch.setattr("training_pipeline.reproduction.code.code_state", lambda _: changed)
    with pytest.raises(StateError, match=r"found training_pipeline/model\.py\. Commit the"):
        attempt(tmp_path, task_text("no/such/base"), allow_dirty=False)
    with pytest.raises(FtiError, match="no/such/base"):
        attempt(tmp_path, task_text("./no/such/base"), allow_dirty=True)


def test_a_base_that_is_not_on_this_machine_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline, a name on the hub leads nowhere, and the message says where it was looked for."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(StateError, match="an encoder of that name on the hub, found neither"):
        attempt(tmp_path, task_text("nobody/nothing"))
