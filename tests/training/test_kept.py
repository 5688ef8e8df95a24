from __future__ import annotations

import errno
import math
import os
from pathlib import Path

import pytest

from shared.errors import StateError
from shared.model_registry import tracking_uri
from shared.places import Places
from tests.training.test_checkpoint import small_files
from training_pipeline.cli import main
from training_pipeline.gate.verdict import Failure, Skipped, Verdict
from training_pipeline.kept import KeptResults, is_kept, load_kept, settle_kept
from training_pipeline.registry import Candidate, MlflowRegistry, Registered, Sample
from training_pipeline.result import RowCounts, TrainResult
from training_pipeline.trained import Trained

FAILED = Verdict(
    failures=(Failure(rule="min_accuracy", about="accuracy", wanted="at least 0.9", got="0.5"),),
    skipped=(Skipped(rule="max_champion_loss", reason="there is no champion yet"),),
)


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    """What a run made, with figures that JSON has no way to write."""
    folder = tmp_path / "making"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"\0weights")
    return Trained(
        Candidate(
            name="kept",
            folder=folder,
            feature_hash="f" * 64,
            verdict=FAILED,
            reason="a test",
            started_at=1_767_225_600.25,
            params={"epochs": 1, "max_texts": None},
            metrics={"accuracy": 0.1 + 0.2, "p95_ms": math.inf},
            losses=[0.7, math.nan],
            reproduction={"format": 2, "task": {"labels": ["a", "b"]}},
            report="<p>a report</p>",
            code_diff="+ ä line",
            system=[Sample(1.5, {"system/cpu_utilization_percentage": 3.0})],
            champion=None,
        ),
        rows=RowCounts(labelled=10, folded=1, train=6, holdout=3),
        dataset_sha256="d" * 64,
    )


@pytest.fixture
def results(tmp_path: Path) -> KeptResults:
    """Where results are kept; there is none yet."""
    return KeptResults(tmp_path / "kept")


def test_what_is_kept_comes_back_whole(results: KeptResults, trained: Trained) -> None:
    """Every figure to its last bit, also those that are no numbers; the files beside them."""
    folder = results.keep("one", trained)
    assert results.waiting() == [folder]
    assert results.holds("one")
    found = load_kept(folder)
    before, after = trained.candidate, found.candidate
    assert (after.folder / "model.onnx").read_bytes() == b"\0weights"
    assert after.params == {"epochs": "1", "max_texts": "None"}
    assert (after.losses[0], math.isnan(after.losses[1])) == (0.7, True)
    same = ("name", "verdict", "metrics", "reproduction", "report", "code_diff", "started_at")
    for name in (*same, "system", "champion", "candidate_id", "feature_hash", "reason"):
        assert getattr(after, name) == getattr(before, name), name
    assert (found.rows, found.dataset_sha256) == (trained.rows, trained.dataset_sha256)


def test_a_settled_result_waits_no_more(
    results: KeptResults, trained: Trained, tmp_path: Path
) -> None:
    """Its files go; what it came to stays, in its folder or where it was asked for."""
    result = trained.result(Registered(run_id="r", version="1", champion=False))
    folder = results.keep("one", trained)
    settle_kept(folder, result)
    assert [file.name for file in folder.iterdir()] == ["result.json"]
    assert TrainResult.model_validate_json((folder / "result.json").read_bytes()) == result
    assert results.waiting() == []
    settle_kept(results.keep("one", trained), result, tmp_path / "elsewhere" / "out.json")
    assert not folder.exists()
    assert TrainResult.model_validate_json((tmp_path / "elsewhere" / "out.json").read_bytes())


def test_a_full_disk_keeps_nothing_by_halves(
    results: KeptResults, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that refuses, or turns out full when it is synced: an error, and no kept folder."""
    with small_files(100), pytest.raises(StateError, match=r"kept result .*File too large\. Make"):
        results.keep("one", trained)
    assert not list(results.folder.iterdir())

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StateError, match="No space left"):
            results.keep("one", trained)
    assert results.waiting() == []
    assert not is_kept(results.path("one"))
    assert is_kept(results.keep("one", trained))


def test_a_damaged_result_is_named(results: KeptResults, trained: Trained) -> None:
    """It is left as it is, and the message says which file and field."""
    folder = results.keep("one", trained)
    (folder / "candidate.json").write_text('{"format": 9}')
    with pytest.raises(StateError, match=r"candidate\.json, format: .*found 9"):
        load_kept(folder)
    (folder / "candidate.json").write_text("{\n")
    with pytest.raises(StateError, match=r"expected JSON, found what is none \(EOF"):
        load_kept(folder)
    assert is_kept(folder)


def test_what_cannot_be_registered_is_not_passed_over(
    results: KeptResults,
    trained: Trained,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A folder without its candidate is told; what a lost process left unfinished is removed."""
    home = results.folder.parent / "home"
    results = KeptResults(home / "training" / "kept")
    broken = results.keep("broken", trained)
    (broken / "candidate.json").unlink()
    came_to = Registered(run_id="r", version="1", champion=False)
    settle_kept(results.keep("settled", trained), trained.result(came_to))
    old, new = results.path(".old.unfinished"), results.path(".new.unfinished")
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))
    monkeypatch.setenv("FTI_HOME", str(home))
    assert main(["register", "--all"]) == 1
    told = capsys.readouterr()
    assert f"removed {old}," in told.err
    assert f"error: {broken} holds no candidate.json" in told.err
    assert told.err.count("candidate.json") == 1
    assert not old.exists()
    assert new.exists()
    assert broken.exists()


def test_all_that_waits_is_registered(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two results become two versions, one that cannot be read is told, and stays."""
    results = KeptResults(tmp_path / "training" / "kept")
    for name in ("one", "two"):
        results.keep(name, trained)
    damaged = results.keep("damaged", trained)
    (damaged / "candidate.json").write_text("no JSON")
    document = results.path("two") / "candidate.json"
    document.write_text(document.read_text().replace(trained.candidate.candidate_id, "another"))
    monkeypatch.setenv("FTI_HOME", str(tmp_path))
    assert main(["register", "--all", "--json"]) == 1
    told = capsys.readouterr()
    assert "kept result" in told.err
    versions = [TrainResult.model_validate_json(line) for line in told.out.splitlines()]
    assert [one.version for one in versions] == ["1", "2"]
    assert results.waiting() == [damaged]
    places = Places.embedded(tmp_path)
    registry = MlflowRegistry(tracking_uri(places), places.mlflow_artifacts)
    assert [past.version for past in registry.history("kept")] == ["1", "2"]
    assert main(["register", "--kept", str(damaged)]) == 1
