"""The study of a search, without fits: what it draws, and what it gives up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.errors import StateError
from shared.search import Search
from training_pipeline.tune.page import search_page
from training_pipeline.tune.study import Study
from training_pipeline.tune.trials import Parameters, best_of

SPACE: dict[str, Any] = {
    "encoder_learning_rate": {"min": 1e-5, "max": 1e-3},
    "epochs": {"min": 1, "max": 4},
    "class_weights": {"choices": ["none", "balanced"]},
}


def open_study(folder: Path, seed: int = 7, **settings: str) -> Study:
    folder.mkdir(exist_ok=True)
    search = Search.model_validate({**SPACE, **settings})
    return Study(folder / "study.db", "flights", search, seed=seed)


def loss_of(parameters: Parameters) -> float:
    """Return a loss that a greater learning rate makes less."""
    return 1.0 - 100 * float(parameters["encoder_learning_rate"])


def try_out(study: Study, trials: int) -> list[Parameters]:
    """End so many trials; return what was tried."""
    tried = []
    for _ in range(trials):
        trial = study.next_trial()
        trial.end("complete", loss_of(trial.parameters))
        tried.append(trial.parameters)
    return tried


def test_the_same_seed_tries_the_same(tmp_path: Path) -> None:
    """Beyond the random trials, too; cut anywhere and opened again; another seed tries others."""
    whole = try_out(open_study(tmp_path / "whole"), 13)
    cut = try_out(open_study(tmp_path / "cut"), 5)
    begun = open_study(tmp_path / "cut").next_trial()  # and then its process is killed
    cut += try_out(open_study(tmp_path / "cut"), 8)
    assert begun.parameters == cut[5]
    assert cut == whole
    assert try_out(open_study(tmp_path / "other", seed=8), 1) != whole[:1]
    assert len(open_study(tmp_path / "cut").trials) == 13


def test_a_trial_that_is_worse_than_most_is_given_up(tmp_path: Path) -> None:
    """After five trials, one whose loss after an epoch is above the median; never with ``none``."""
    for pruner, given_up in (("median", True), ("none", False)):
        study = open_study(tmp_path / pruner, pruner=pruner)
        for loss in (0.5, 0.4, 0.6, 0.5, 0.5):
            trial = study.next_trial()
            assert not trial.worse_than_most(1, loss)
            trial.end("complete", loss)
        good, bad = study.next_trial(), 0.9
        assert not good.worse_than_most(1, 0.3)
        good.end("complete", 0.3)
        assert study.next_trial().worse_than_most(1, bad) is given_up
        # After an interruption the same is told again.
        assert (
            open_study(tmp_path / pruner, pruner=pruner).next_trial().worse_than_most(1, bad)
            is given_up
        )


def test_the_page_tells_what_mattered(tmp_path: Path) -> None:
    """The field that decides the loss explains most; a failed trial is there with its reason."""
    study = open_study(tmp_path)
    try_out(study, 12)
    study.next_trial().end("failed", reason="out of <memory>")
    importances = study.importances()
    assert next(iter(importances)) == "encoder_learning_rate"
    assert sum(importances.values()) == pytest.approx(1.0)
    page = search_page("flights", "loss", study.trials, importances, greatest=False)
    best = best_of(study.trials, greatest=False)
    assert best is not None
    assert f"encoder_learning_rate = {best.parameters['encoder_learning_rate']!r}" in page
    assert "out of &lt;memory&gt;" in page


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    """Values of other rows cannot be compared; the error names what changed."""
    study = open_study(tmp_path)
    study.check({"rows": "abc", "labels": "a, b"})
    study.check({"rows": "abc", "labels": "a, b"})
    with pytest.raises(StateError, match="a change of rows"):
        open_study(tmp_path).check({"rows": "abd", "labels": "a, b"})
