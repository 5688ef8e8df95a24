"""The reproduction record: all that decides what a training run comes to, and what it came to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import StateError
from shared.manifest import Sha256
from shared.validation import first_error
from training_pipeline.result import RowCounts

REPRODUCTION_FILE = "repro.json"
FORMAT: Literal[2] = 2


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Code(_Part):
    """The code that ran."""

    commit: str | None
    """None where it is in no clone of git, and the image does not tell."""
    commit_from: Literal["git", "setting"] | None
    dirty: bool | None
    """Whether it differed from the commit; None where nobody can tell."""
    diff_sha256: Sha256 | None = None
    """Of the whole difference, where there is one."""
    diff_bytes: int = 0
    diff_kept: bool = False
    """Whether the difference is kept beside the record: one that is too long is not."""


class DatasetRecord(_Part):
    """What was read from the feature store."""

    sha256: Sha256
    versions: dict[str, int]
    """Per feature view, the version of its Delta table."""
    rows: RowCounts
    feature_service: str
    feature_hash: Sha256


class BaseRecord(_Part):
    """The base encoder."""

    name: str
    """As the task names it."""
    files: dict[str, Sha256]
    """Weights, tokenizer and configuration, by file name."""


class FitRecord(_Part):
    """How the weights came about."""

    seed: int
    dtype: str
    """Of the weights."""
    precision: str
    """Of the arithmetic."""
    steps: int
    initial_weight_sha256: Sha256
    weight_sha256: Sha256
    """Of the weights that were exported."""


class Band(_Part):
    """Between which values a figure lies."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Tell whether a value lies between them."""
        return self.low <= value <= self.high


class EvaluationRecord(_Part):
    """What the exported file in full precision answers on the held-out rows."""

    logits_sha256: Sha256
    labels_sha256: Sha256
    """Of the pairs of mention and predicted label."""
    accuracy: float
    accuracy_band: Band
    """Its interval of 95%."""
    macro_f1: float
    macro_f1_band: Band


class Machine(_Part):
    """What decides how numbers are rounded."""

    python: str
    system: str
    architecture: str
    cpu: str
    cpu_flags: list[str]
    """Extensions that kernels are chosen by."""
    cpu_capability: str
    """The kernels that torch chose."""
    gpus: list[str]
    cuda: str | None
    cudnn: int | None
    threads: int


class Environment(_Part):
    """What ran, and on what."""

    code: Code
    lock_sha256: Sha256 | None
    """Of the file that pins all packages; None where it is not beside the code."""
    libraries: dict[str, str]
    machine: Machine
    world: int
    """How many processes took part."""
    device: str
    """``cpu`` or ``cuda``."""


class ReproductionRecord(_Part):
    """Everything that is needed to train a version again, and to tell how far that comes."""

    format: Literal[2] = FORMAT
    environment: Environment
    task: dict[str, Any]
    """As resolved, with every default."""
    dataset: DatasetRecord
    base: BaseRecord
    fit: FitRecord
    evaluation: EvaluationRecord

    def as_json(self) -> Mapping[str, Any]:
        """Return the record, ready for JSON."""
        return self.model_dump(mode="json")


def read_record(content: bytes, place: str) -> ReproductionRecord:
    """Return the record that a file holds.

    Args:
        content: the file.
        place: what it is, for people.

    Raises:
        StateError: it is of another format, or damaged.
    """
    try:
        document = json.loads(content)
    except ValueError as error:
        raise StateError(place, expected="a reproduction record", found="no JSON") from error
    found = document.get("format", 1) if isinstance(document, dict) else None
    if found != FORMAT:
        raise StateError(
            place,
            expected=f"a reproduction record of format {FORMAT}",
            found=f"format {found}",
            remedy="It was written by another release, which may know how to train it again.",
        )
    try:
        return ReproductionRecord.model_validate(document)
    except ValidationError as error:
        field, expected, given = first_error(error)
        raise StateError(f"{place}, {field}", expected=expected, found=given) from error
