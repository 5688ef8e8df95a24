from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from shared.errors import StateError
from training_pipeline.fit.checkpoint import Checkpoints, state_in
from training_pipeline.fit.fingerprint import Fingerprint

FINGERPRINT = {"training.epochs": "3", "rows": "90"}


def state(step: int) -> dict[str, object]:
    """Return a state of 4,000 bytes and more."""
    return {"step": step, "weights": torch.full((1_000,), float(step))}


def checkpoints(folder: Path, *, supersede: bool = False) -> Checkpoints:
    """Return checkpoints that are due every five steps."""
    return Checkpoints(folder, every_seconds=3_600, every_steps=5, supersede=supersede)


def saved(folder: Path, *steps: int, fingerprint: Fingerprint = FINGERPRINT) -> Checkpoints:
    """Save these steps."""
    made = checkpoints(folder)
    for step in steps:
        made.save(state(step), fingerprint)
    return made


def names(folder: Path) -> list[str]:
    """Return the names of the files that are there."""
    return sorted(path.name for path in folder.iterdir())


def test_the_last_two_stay_and_the_newest_is_read(tmp_path: Path) -> None:
    """Older checkpoints go; what is read is what was saved last; clearing leaves nothing."""
    made = saved(tmp_path / "new", 3, 6, 9)
    assert names(tmp_path / "new") == ["step-000000006.pt", "step-000000009.pt"]
    found = state_in(made.newest(FINGERPRINT))
    assert found["step"] == 9
    assert torch.equal(found["weights"], torch.full((1_000,), 9.0))
    made.clear()
    assert names(tmp_path / "new") == []
    assert made.newest(FINGERPRINT) == b""


def test_it_is_due_by_steps_and_by_seconds(tmp_path: Path) -> None:
    """It is time after so many steps, and when so many seconds have passed since the last save."""
    now = [0.0]
    made = Checkpoints(tmp_path, every_seconds=60, every_steps=5, clock=lambda: now[0])
    assert [step for step in range(1, 12) if made.due(step)] == [5, 10]
    now[0] = 60.0
    assert made.due(1)
    made.save(state(1), FINGERPRINT)
    assert not made.due(2)


def test_a_checkpoint_of_another_fit_is_refused(tmp_path: Path) -> None:
    """What differs is named with both values, and how to begin anew; the checkpoint stays."""
    saved(tmp_path, 3)
    other = {**FINGERPRINT, "training.epochs": "2"}
    with pytest.raises(StateError, match=r"found training\.epochs 3, not 2\. Give --fresh"):
        checkpoints(tmp_path).newest(other)
    assert names(tmp_path) == ["step-000000003.pt"]
    assert checkpoints(tmp_path, supersede=True).newest(other) == b""
    assert names(tmp_path) == []


@contextmanager
def small_files(most_bytes: int) -> Iterator[None]:
    """Let this process write no file beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_grow_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """The system refuses to write on: a clear error, and what was saved before can be read."""
    made = saved(tmp_path, 3)
    with small_files(2_000), pytest.raises(StateError, match=r"too large.* the checkpoint before"):
        made.save(state(6), FINGERPRINT)
    assert names(tmp_path) == ["step-000000003.pt"]
    assert state_in(made.newest(FINGERPRINT))["step"] == 3


def test_a_first_checkpoint_that_finds_no_room_promises_nothing(tmp_path: Path) -> None:
    """There is none before it to go on from."""
    with small_files(2_000), pytest.raises(StateError, match="training begins anew"):
        checkpoints(tmp_path / "new").save(state(3), FINGERPRINT)


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that turns out full when it is synced: a clear error, with what to do."""
    made = saved(tmp_path, 3)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match=r"found No space left on device\. Make room"):
        made.save(state(6), FINGERPRINT)
    assert names(tmp_path) == ["step-000000003.pt"]


def test_a_damaged_checkpoint_is_told_not_skipped(tmp_path: Path) -> None:
    """A file that lost its end, or holds code to unpickle, is refused with what to do."""
    made = saved(tmp_path, 3, 6)
    newest = tmp_path / "step-000000006.pt"
    newest.write_bytes(newest.read_bytes()[:-2_000])
    with pytest.raises(StateError, match="Remove it to go on from the one before"):
        made.newest(FINGERPRINT)
    torch.save({"fingerprint": FINGERPRINT, "state": Path("a")}, newest)
    with pytest.raises(StateError, match="UnpicklingError"):
        made.newest(FINGERPRINT)
    newest.write_bytes(b"\x80\x02." * 1_000)  # to torch, a pickle that ends before a value
    with pytest.raises(StateError, match=r"cannot be read \(IndexError\)"):
        made.newest(FINGERPRINT)
    newest.unlink()
    assert state_in(made.newest(FINGERPRINT))["step"] == 3


def test_a_folder_in_the_place_of_a_checkpoint_is_told(tmp_path: Path) -> None:
    """Neither reading nor beginning anew takes it for a file, or removes it."""
    made = saved(tmp_path, 3)
    (tmp_path / "step-000000006.pt").mkdir()
    with pytest.raises(StateError, match="found a folder"):
        made.newest(FINGERPRINT)
    with pytest.raises(StateError, match=r"step-000000006\.pt: .* found Is a directory"):
        made.clear()
