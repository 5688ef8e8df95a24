"""What all contenders serve and are asked: where it lies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.serving.texts import Kind

Variant = Literal["fp32", "int8"]
VARIANTS: tuple[Variant, ...] = ("int8", "fp32")
FILES: dict[Variant, str] = {"fp32": "model.onnx", "int8": "model.int8.onnx"}


@dataclass(frozen=True)
class Materials:
    """A folder with all that a run needs."""

    folder: Path

    def __post_init__(self) -> None:
        # Servers and generators run in folders of their own: a relative path would mislead them.
        object.__setattr__(self, "folder", self.folder.resolve())

    @property
    def home(self) -> Path:
        """FTI_HOME: a filled online store, and a champion of each model."""
        return self.folder / "home"

    @property
    def complete(self) -> Path:
        """The file with the recipe, there when everything else is."""
        return self.folder / "complete.json"

    @property
    def unfinished(self) -> Path:
        """The same file as long as something may be missing."""
        return self.folder / "unfinished.json"

    @property
    def package(self) -> Path:
        """The folder of the model version."""
        return self.folder / "package"

    def questions(self, kind: Kind) -> Path:
        """Return the file of what is asked, with the right answers: see `Question`."""
        return self.folder / f"{kind}.json"


@dataclass(frozen=True)
class Question:
    """A text to ask, with the right labels by ``FEATURES.VARIANT``.

    The features are ``joined`` (those that the online store holds) or ``unknown`` (none).
    """

    text: str
    subject_id: str
    source_id: str
    labels: dict[str, str]


def model_name(variant: Variant) -> str:
    """Return the registered model whose fastest file is of this variant."""
    return f"benchmark_{variant}"


def read_questions(path: Path) -> list[Question]:
    """Read what is asked."""
    return [Question(**row) for row in json.loads(path.read_bytes())]
