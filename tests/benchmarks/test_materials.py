"""Materials come from their recipe, whole or not at all, and leave no answer in doubt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.serving.bare import BareModel
from benchmarks.serving.materials import FILES, Materials, read_questions
from benchmarks.serving.recipe import Recipe, ensure_materials
from benchmarks.serving.texts import KINDS, make_texts
from tests.benchmarks.conftest import WORDS
from tests.training.tiny_encoder import make_tiny_encoder

FARTHER = 3
"""How many times the difference of eight bits a margin must be."""


def test_texts_come_from_their_seed() -> None:
    """The same seed gives the same texts; mixed ones are longer and vary more than short ones."""
    short, again = (
        make_texts("short", 200, words=WORDS, labels=3, most=128, seed=4) for _ in range(2)
    )
    mixed = make_texts("mixed", 200, words=WORDS, labels=3, most=128, seed=4)
    assert short == again
    assert {text.label for text in short} == {0, 1, 2}
    longest_short, longest_mixed = (
        max(len(text.text.split()) for text in texts) for texts in (short, mixed)
    )
    assert longest_short <= 16
    assert 60 < longest_mixed <= 128


def test_tiny_encoder_is_the_same_each_time(tmp_path: Path) -> None:
    """The same texts give the same files: what is measured on it does not depend on luck."""
    one, other = (make_tiny_encoder(tmp_path / name, [" ".join(WORDS)]) for name in ("a", "b"))
    for file in ("tokenizer.json", "model.safetensors"):
        assert (one / file).read_bytes() == (other / file).read_bytes()


def test_no_question_is_close_to_two_labels(materials: Materials) -> None:
    """Eight bits move no logit by nearly as much as the two best labels are apart."""
    package = materials.package
    exact, small = (BareModel(package, FILES[variant], threads=1) for variant in ("fp32", "int8"))
    for kind in KINDS:
        questions = read_questions(materials.questions(kind))
        assert len({question.labels["joined.fp32"] for question in questions}) > 1
        for question in questions:
            logits = exact.logits(question.text)
            second, first = np.sort(logits)[-2:]
            moved = np.abs(logits - small.logits(question.text)).max()
            assert first - second > FARTHER * moved


def test_what_a_failed_attempt_left_is_made_anew(materials: Materials) -> None:
    """Of an attempt that was cut off nothing is left, and what was made is said to be complete."""
    assert materials.complete.exists()
    assert not materials.unfinished.exists()
    files = {file.name for file in materials.package.iterdir()}
    assert set(FILES.values()) <= files
    assert "half-written.onnx" not in files


def test_failed_attempt_is_not_taken_for_materials(recipe: Recipe, tmp_path: Path) -> None:
    """Materials that could not be made are an error each time, not a folder that is used."""
    task = tmp_path / "task.toml"
    task.write_text(recipe.task.read_text().replace("base =", "bass ="))
    materials = Materials(tmp_path / "materials")
    for _ in range(2):
        with pytest.raises(BenchmarkError, match=r"TaskError: .*training\.base"):
            ensure_materials(materials, replace(recipe, task=task), tmp_path)
        assert not materials.complete.exists()


def test_materials_of_another_recipe_are_refused(
    materials: Materials, recipe: Recipe, tmp_path: Path
) -> None:
    """Materials that exist are used for the same recipe only."""
    ensure_materials(materials, recipe, tmp_path)
    with pytest.raises(BenchmarkError, match="Name another folder"):
        ensure_materials(materials, replace(recipe, seed=recipe.seed + 1), tmp_path)


def test_folder_with_other_files_is_left_alone(recipe: Recipe, tmp_path: Path) -> None:
    """A folder of somebody's own is neither used nor emptied."""
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(BenchmarkError, match=r"letters\.txt"):
        ensure_materials(Materials(tmp_path), recipe, tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "dear"
