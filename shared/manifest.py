"""The manifest beside every exported model: all that serving needs to know of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import ContractError
from shared.subjects import SourceRules, SubjectRules
from shared.validation import first_error

MANIFEST_FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.json"

CHAMPION = "champion"
PREVIOUS = "previous"

INPUT_IDS = "input_ids"
"""ONNX input, int64 [batch, length]."""
ATTENTION_MASK = "attention_mask"
"""ONNX input, int64 [batch, length]."""
FEATURES = "features"
"""ONNX input, float32 [batch, features] in the manifest's order; NaN where a value is missing."""
LOGITS = "logits"
"""ONNX output, float32 [batch, labels] in the manifest's order."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(_Part):
    """One ONNX file of a model, with its parity to torch as measured on held-out rows."""

    file: Annotated[str, Field(pattern=r"^[\w.-]+\.onnx$")]
    sha256: Sha256
    label_agreement: Annotated[float, Field(ge=0, le=1)]
    max_logit_difference: Annotated[float, Field(ge=0)]
    accepted: bool = True
    """Whether the gate lets it serve. A server has bounds of its own on top."""


class Golden(_Part):
    """An input with its known answer; a server refuses a version that answers otherwise."""

    text: str
    """As ``shared.text.normalise`` left it."""
    logits: list[float]
    """Of the text with every feature missing, in label order."""
    tolerance: Annotated[float, Field(gt=0)] = 1e-2


class Manifest(_Part):
    """The contract of one model version."""

    format_version: Annotated[int, Field(ge=1, le=1)] = 1
    task: str
    labels: Annotated[list[str], Field(min_length=2)]
    feature_service: str
    feature_hash: Sha256
    features: list[str]
    """Columns ``view__feature``, in the order of the ONNX input."""
    max_length: Annotated[int, Field(ge=1)]
    """Tokens that a text is cut to, special tokens included."""
    pad_token_id: Annotated[int, Field(ge=0)]
    tokenizer_sha256: Sha256
    variants: Annotated[dict[str, Variant], Field(min_length=1)]
    """By precision; ``fp32`` is always there."""
    golden: Golden
    subjects: SubjectRules
    sources: SourceRules
    metrics: dict[str, float]

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if len(self.golden.logits) != len(self.labels):
            raise ValueError("one value per label in golden.logits")
        if "fp32" not in self.variants:
            raise ValueError("fp32 among the variants")
        return self


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of an unpacked model version.

    Raises:
        ContractError: the manifest is absent or does not fit, or a file does not have the hash
            that the manifest gives for it.
    """
    path = folder / MANIFEST_FILE
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ContractError(str(folder), expected=f"a file {MANIFEST_FILE}", found="none") from None
    except ValidationError as error:
        field, expected, found = first_error(error)
        raise ContractError(f"{path}, {field}", expected=expected, found=found) from error
    wanted = {variant.file: variant.sha256 for variant in manifest.variants.values()}
    for name, sha256 in {**wanted, TOKENIZER_FILE: manifest.tokenizer_sha256}.items():
        check_sha256(folder / name, sha256)
    return manifest


def check_sha256(path: Path, expected: str) -> None:
    """Raise ContractError unless the file is there and has this SHA-256."""
    if not path.is_file():
        raise ContractError(str(path), expected="a file of the model version", found="none")
    found = sha256_of(path)
    if found != expected:
        raise ContractError(str(path), expected=f"SHA-256 {expected}", found=found)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
