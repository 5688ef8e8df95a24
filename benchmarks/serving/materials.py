"""What all contenders serve and are asked: where it lies, and the process that makes it.

``python -m benchmarks.serving.materials ANSWER FOLDER …`` fits a model, exports it, and
fills a feature store and a model registry; the parent stays free of torch.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks.errors import BenchmarkError
from benchmarks.measure import Limits, run_fresh
from benchmarks.serving.bare import BareModel
from benchmarks.serving.texts import KINDS, Kind, Text, make_texts, vocabulary

Variant = Literal["fp32", "int8"]
VARIANTS: tuple[Variant, ...] = ("int8", "fp32")
Joined = Literal["joined", "plain"]
"""Whether the model reads features, or was exported without any."""

FILES: dict[Variant, str] = {"fp32": "model.onnx", "int8": "model.int8.onnx"}

_LIMITS = Limits(seconds=1800, memory_bytes=16 * 2**30)
_TRAINING_TEXTS = 512
_PARITY_TEXTS = 256


@dataclass(frozen=True)
class Materials:
    """A folder with all that a run needs."""

    folder: Path

    @property
    def home(self) -> Path:
        """FTI_HOME: a filled online store, and a champion of each model."""
        return self.folder / "home"

    @property
    def complete(self) -> Path:
        """Return a file that is there when everything else is."""
        return self.folder / "complete"

    def package(self, joined: Joined) -> Path:
        """Return the folder of a model version."""
        return self.folder / "packages" / joined

    def questions(self, kind: Kind) -> Path:
        """Return the file of what is asked, with the right answers: see `Question`."""
        return self.folder / f"{kind}.json"


@dataclass(frozen=True)
class Question:
    """A text to ask, with the right labels by ``MODEL.VARIANT``.

    A model is ``joined`` (with the features that the online store holds), ``unknown`` (the same
    model when it is given none) or ``plain`` (the model without features).
    """

    text: str
    subject_id: str
    source_id: str
    labels: dict[str, str]


def model_name(joined: Joined, variant: Variant) -> str:
    """Return the registered model whose fastest file is of this variant."""
    return f"{joined}_{variant}"


def read_questions(path: Path) -> list[Question]:
    """Read what is asked."""
    return [Question(**row) for row in json.loads(path.read_bytes())]


def ensure_materials(
    materials: Materials, task: str, *, count: int, seed: int, most: int, folder: Path
) -> None:
    """Make what is not there yet, in a process of its own; arguments as of `make_materials`.

    Raises:
        BenchmarkError: it could not be made.
    """
    if materials.complete.exists():
        return
    paths = [str(materials.folder.resolve()), str(Path(task).resolve())]
    made = run_fresh(
        "benchmarks.serving.materials", [*paths, *map(str, (count, seed, most))], folder, _LIMITS
    )
    if made.how != "done":
        raise BenchmarkError("materials", expected="models to serve", found=made.last_error)


def make_materials(folder: Path, task_file: Path, *, count: int, seed: int, most: int) -> None:
    """Make everything.

    Args:
        folder: where to.
        task_file: gives base encoder, labels and features.
        count: different texts of each kind.
        seed: of the texts, the features and the training.
        most: tokens that a model reads of a text.
    """
    from benchmarks.serving.feature_home import fill_store, publish
    from benchmarks.serving.package import fit_head, make_package, pool_texts
    from shared.task import load_task
    from training_pipeline.encoder import load_tokenizer, resolve_base

    task = load_task(task_file)
    task = task.model_copy(
        update={"training": task.training.model_copy(update={"max_length": most, "seed": seed})}
    )
    materials = Materials(folder)
    tokenizer = load_tokenizer(resolve_base(task.training.base), most)
    words = vocabulary(tokenizer.tokenizer)

    def texts(kind: Kind, number: int, offset: int) -> list[Text]:
        labels = len(task.labels)
        return make_texts(
            kind, number, words=words, labels=labels, most=2 * most, seed=seed + offset
        )

    store = fill_store(materials.home, task, seed=seed)
    practice = texts("short", _TRAINING_TEXTS, 1)
    held_out = [text for kind in KINDS for text in texts(kind, _PARITY_TEXTS // 2, 2)]
    pooled = pool_texts([text.text for text in practice], task)
    for joined in ("joined", "plain"):
        columns = store.columns if joined == "joined" else []
        model = fit_head(practice, pooled, store.of(practice, columns), task)
        manifests = make_package(
            materials.package(joined),
            model=model,
            tokenizer=tokenizer,
            task=task,
            service=store.service,
            columns=columns,
            texts=[text.text for text in held_out],
            features=store.of(held_out, columns),
        )
        for variant, manifest in manifests.items():
            publish(
                materials.home, model_name(joined, variant), materials.package(joined), manifest
            )
    for kind in KINDS:
        asked = texts(kind, count, 3)
        labels = _right_labels(materials, asked, store.of(asked, store.columns))
        rows = [
            asdict(Question(text.text, text.subject_id, text.source_id, right))
            for text, right in zip(asked, labels, strict=True)
        ]
        materials.questions(kind).write_text(json.dumps(rows))
    materials.complete.touch()


def _right_labels(
    materials: Materials, asked: list[Text], features: npt.NDArray[np.float32]
) -> list[dict[str, str]]:
    texts = [text.text for text in asked]
    columns: dict[str, list[str]] = {}
    for variant, file in FILES.items():
        joined = BareModel(materials.package("joined"), file, threads=0)
        columns[f"joined.{variant}"] = joined.label_all(texts, features)
        columns[f"unknown.{variant}"] = joined.label_all(texts)
        plain = BareModel(materials.package("plain"), file, threads=0)
        columns[f"plain.{variant}"] = plain.label_all(texts)
    return [
        dict(zip(columns, labels, strict=True)) for labels in zip(*columns.values(), strict=True)
    ]


def main() -> None:
    """Make everything and answer with nothing but that it is done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.materials")
    parser.add_argument("answer", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("task", type=Path)
    for name in ("count", "seed", "most"):
        parser.add_argument(name, type=int)
    options = parser.parse_args()
    make_materials(
        options.folder, options.task, count=options.count, seed=options.seed, most=options.most
    )
    options.answer.write_text("{}")


if __name__ == "__main__":
    main()
