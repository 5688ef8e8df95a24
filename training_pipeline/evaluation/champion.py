"""The champion's answers: its files, as serving would run them, on the rows held out now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from shared.manifest import TOKENIZER_FILE, Manifest, read_manifest
from training_pipeline.encoder import TextTokenizer
from training_pipeline.evaluation.comparison import (
    MIN_ROWS,
    Comparison,
    Uncompared,
    compare_with_champion,
)
from training_pipeline.evaluation.scores import Labels
from training_pipeline.onnx_model import FULL_PRECISION, INT8, OnnxModel
from training_pipeline.rows import Rows


@dataclass(frozen=True)
class ChampionPackage:
    """The files of the version that serves now."""

    version: str
    folder: Path


@dataclass(frozen=True)
class FeatureSchema:
    """What the features of held-out rows are."""

    hash: str
    """Of the feature service."""
    columns: Sequence[str]
    """Names, in the order of the rows' features."""


def compare_champion(
    package: ChampionPackage | None,
    predicted: Labels,
    holdout: Rows,
    *,
    labels: list[str],
    schema: FeatureSchema,
    seed: int,
) -> Comparison | Uncompared:
    """Ask the champion for the same rows and compare.

    Args:
        package: of the champion; None: there is none yet.
        predicted: the candidate's labels, [rows], positions in ``labels``.
        holdout: the rows.
        labels: the task's labels.
        schema: of the rows' features.
        seed: of the bootstrap.

    Raises:
        ContractError: the champion's files are not what its manifest says.
    """
    if package is None:
        return Uncompared("there is no champion yet")
    if len(holdout) < MIN_ROWS:
        return Uncompared(f"{len(holdout)} held-out rows cannot tell a loss; {MIN_ROWS} can")
    manifest = read_manifest(package.folder)
    if manifest.feature_hash != schema.hash:
        return Uncompared(
            f"champion {package.version} reads other features "
            f"(hash {manifest.feature_hash[:12]}, the store has {schema.hash[:12]})"
        )
    if set(manifest.labels) != set(labels):
        return Uncompared(
            f"champion {package.version} knows other labels: {', '.join(manifest.labels)}"
        )
    answers = champion_labels(package.folder, manifest, holdout, labels=labels, schema=schema)
    return compare_with_champion(
        predicted == holdout.labels,
        answers == holdout.labels,
        champion=package.version,
        seed=seed,
    )


def champion_labels(
    folder: Path, manifest: Manifest, holdout: Rows, *, labels: list[str], schema: FeatureSchema
) -> Labels:
    """Return the labels that a packaged version gives rows: [rows], positions in ``labels``."""
    int8 = manifest.variants.get(INT8)
    variant = INT8 if int8 is not None and int8.accepted else FULL_PRECISION
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.no_padding()
    model = OnnxModel(
        folder / manifest.variants[variant].file,
        TextTokenizer(tokenizer, manifest.pad_token_id),
        max_length=manifest.max_length,
    )
    by_name = [list(schema.columns).index(column) for column in manifest.features]
    logits = model.logits(holdout.texts.tolist(), holdout.features[:, by_name])
    ours = np.array([labels.index(label) for label in manifest.labels], dtype=np.int64)
    answers: Labels = ours[logits.argmax(axis=1)]
    return answers
