"""What materials are made by, and the process that makes them.

``python -m benchmarks.serving.recipe ANSWER FOLDER TASK COUNT SEED MAX_LENGTH`` fits a model,
exports it, and fills a feature store and a model registry; the parent stays free of torch.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from benchmarks.errors import BenchmarkError
from benchmarks.measure import Limits, run_fresh
from benchmarks.serving.bare import BareModel
from benchmarks.serving.materials import FILES, Materials, Question, model_name
from benchmarks.serving.texts import KINDS, Kind, Text, make_texts, vocabulary
from shared.manifest import sha256_of

TASK = Path(__file__).parents[2] / "tasks" / "brand_mentions.toml"
_LIMITS = Limits(seconds=1800, memory_bytes=16 * 2**30)
_TRAINING_TEXTS = 512
_PARITY_TEXTS = 256


@dataclass(frozen=True)
class Recipe:
    """What decides the materials: the same recipe gives the same ones."""

    task: Path
    """Task file: gives base encoder, labels and features."""
    count: int
    """Different texts of each kind."""
    seed: int
    """Of the texts and the features."""
    max_length: int
    """Tokens that a model reads of a text."""

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """Return what the options of `recipe_options` say."""
        return cls(options.task.resolve(), options.count, options.seed, options.max_length)

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON values, the same on each machine."""
        return {**asdict(self), "task": self.task.name, "task_sha256": sha256_of(self.task)}


def recipe_options() -> argparse.ArgumentParser:
    """Return a parent of command lines that need materials."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--count", type=int, default=1000, help="different texts of each kind")
    parser.add_argument("--seed", type=int, default=7, help="of texts, features and arrivals")
    parser.add_argument("--max-length", type=int, default=128, help="tokens read of a text")
    parser.add_argument(
        "--task", type=Path, default=TASK, help="task file: base encoder, labels, features"
    )
    parser.add_argument(
        "--materials", type=Path, help="folder with models and stores: made, and used again"
    )
    return parser


def ensure_materials(materials: Materials, recipe: Recipe, folder: Path) -> None:
    """Make what is not there yet, in a process of its own that works in ``folder``.

    Registry and store keep whole paths, so that the materials cannot be made elsewhere and moved:
    a file says that they are unfinished, and its new name that they are complete.

    Raises:
        BenchmarkError: the folder holds something else, or they could not be made.
    """
    wanted = recipe.as_dict()
    if materials.complete.exists():
        found = json.loads(materials.complete.read_bytes())
        if found != wanted:
            raise BenchmarkError(
                str(materials.folder),
                expected=f"materials of {wanted}",
                found=f"those of {found}",
                remedy="Name another folder, or remove this one.",
            )
        return
    _begin(materials)
    materials.unfinished.write_text(json.dumps(wanted))
    arguments = (materials.folder, *asdict(recipe).values())
    run_fresh(
        "benchmarks.serving.recipe", [str(argument) for argument in arguments], folder, _LIMITS
    ).answer_of("materials")
    materials.unfinished.rename(materials.complete)


def _begin(materials: Materials) -> None:
    """Make an empty folder; what an attempt left that failed is removed, nothing else."""
    folder = materials.folder
    if materials.unfinished.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if other := next(folder.iterdir(), None):
        raise BenchmarkError(
            str(folder),
            expected="materials, or an empty folder",
            found=other.name,
            remedy="Name another folder.",
        )


def make_materials(materials: Materials, recipe: Recipe) -> None:
    """Make everything in an empty folder."""
    from benchmarks.serving.feature_home import fill_store, publish
    from benchmarks.serving.package import fit_head, make_package, pool_texts
    from shared.task import load_task
    from training_pipeline.encoder import load_tokenizer, resolve_base

    seed, most = recipe.seed, recipe.max_length
    task = load_task(recipe.task)
    task = task.model_copy(
        update={"training": task.training.model_copy(update={"max_length": most, "seed": seed})}
    )
    tokenizer = load_tokenizer(resolve_base(task.training.base), most)
    words = vocabulary(tokenizer.tokenizer)

    def texts(kind: Kind, number: int, offset: int) -> list[Text]:
        labels = len(task.labels)
        return make_texts(
            kind, number, words=words, labels=labels, most=2 * most, seed=seed + offset
        )

    store = fill_store(materials.home, task, seed=seed)
    practice = [text for kind in KINDS for text in texts(kind, _TRAINING_TEXTS // 2, 1)]
    held_out = [text for kind in KINDS for text in texts(kind, _PARITY_TEXTS // 2, 2)]
    pooled = pool_texts([text.text for text in practice], task)
    manifests = make_package(
        materials.package,
        model=fit_head(practice, pooled, store.of(practice), task),
        tokenizer=tokenizer,
        task=task,
        service=store.service,
        columns=store.columns,
        texts=[text.text for text in held_out],
        features=store.of(held_out),
    )
    for variant, manifest in manifests.items():
        publish(materials.home, model_name(variant), materials.package, manifest)
    for kind in KINDS:
        asked = texts(kind, recipe.count, 3)
        labels = _right_labels(materials, asked, store.of(asked))
        rows = [
            asdict(Question(text.text, text.subject_id, text.source_id, right))
            for text, right in zip(asked, labels, strict=True)
        ]
        materials.questions(kind).write_text(json.dumps(rows))


def _right_labels(
    materials: Materials, asked: list[Text], features: npt.NDArray[np.float32]
) -> list[dict[str, str]]:
    texts = [text.text for text in asked]
    columns: dict[str, list[str]] = {}
    for variant, file in FILES.items():
        model = BareModel(materials.package, file, threads=0)
        columns[f"joined.{variant}"] = model.label_all(texts, features)
        columns[f"unknown.{variant}"] = model.label_all(texts)
    return [
        dict(zip(columns, labels, strict=True)) for labels in zip(*columns.values(), strict=True)
    ]


def main() -> None:
    """Make everything and answer with nothing but that it is done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.recipe")
    parser.add_argument("answer", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("task", type=Path)
    for name in ("count", "seed", "max_length"):
        parser.add_argument(name, type=int)
    options = parser.parse_args()
    make_materials(Materials(options.folder), Recipe.of(options))
    options.answer.write_text("{}")


if __name__ == "__main__":
    main()
