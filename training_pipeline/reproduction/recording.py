"""The recording: a run's parts, put together as its reproduction record."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from shared.features import feature_service_name
from shared.manifest import sha256_of
from shared.task import Task
from training_pipeline.dataset import Dataset
from training_pipeline.evaluation.intervals import Interval
from training_pipeline.evaluation.scores import Labels, Scores
from training_pipeline.fit import Fitted, Processes
from training_pipeline.model import weight_hash
from training_pipeline.onnx_model import Logits
from training_pipeline.reproduction.environment import present_environment
from training_pipeline.reproduction.record import (
    Band,
    BaseRecord,
    Code,
    DatasetRecord,
    EvaluationRecord,
    FitRecord,
    ReproductionRecord,
)
from training_pipeline.result import RowCounts
from training_pipeline.rows import Rows

_BASE_FILES = ("*.safetensors", "*.json", "*.txt")
"""Weights; tokenizer and configuration; vocabularies."""


def reproduction_record(
    task: Task,
    dataset: Dataset,
    rows: RowCounts,
    *,
    code: Code,
    base: Path,
    fitted: Fitted,
    processes: Processes,
    evaluation: EvaluationRecord,
) -> ReproductionRecord:
    """Return the record of a run on this machine.

    Args:
        task: as resolved, with every default.
        dataset: what was read from the feature store.
        rows: how many of them were trained on and held out.
        code: the code that runs.
        base: the resolved folder of the base encoder.
        fitted: gives the weights.
        processes: that took part.
        evaluation: what the exported file answers.
    """
    return ReproductionRecord(
        environment=present_environment(code, processes),
        task=task.model_dump(mode="json"),
        dataset=DatasetRecord(
            sha256=dataset.sha256,
            versions=dict(dataset.versions),
            rows=rows,
            feature_service=feature_service_name(task.name),
            feature_hash=dataset.service.hash,
        ),
        base=BaseRecord(name=task.training.base, files=base_files(base)),
        fit=FitRecord(
            seed=task.training.seed,
            dtype=str(fitted.model.head.weight.dtype).removeprefix("torch."),
            precision=task.training.precision,
            steps=len(fitted.losses),
            initial_weight_sha256=fitted.initial_weight_sha256,
            weight_sha256=weight_hash(fitted.model),
        ),
        evaluation=evaluation,
    )


def evaluation_record(
    logits: Logits, scores: Scores, holdout: Rows, labels: list[str]
) -> EvaluationRecord:
    """Return what a file answers on held-out rows, as hashes and figures.

    Args:
        logits: [rows, labels] of the file in full precision.
        scores: of these.
        holdout: the rows.
        labels: the task's labels.
    """
    predicted: Labels = np.asarray(logits.argmax(axis=1), dtype=np.int64)
    pairs = [
        [str(mention), labels[i]] for mention, i in zip(holdout.mention_ids, predicted, strict=True)
    ]
    shaped = json.dumps(logits.shape).encode() + logits.astype("<f4").tobytes()
    return EvaluationRecord(
        logits_sha256=hashlib.sha256(shaped).hexdigest(),
        labels_sha256=hashlib.sha256(json.dumps(pairs).encode()).hexdigest(),
        accuracy=scores.accuracy,
        accuracy_band=_band(scores.accuracy_interval),
        macro_f1=scores.macro_f1,
        macro_f1_band=_band(scores.macro_f1_interval),
    )


def base_files(base: Path) -> dict[str, str]:
    """Return the hash of each file of a base encoder, by name."""
    files = {file for pattern in _BASE_FILES for file in base.glob(pattern)}
    return {file.name: sha256_of(file) for file in sorted(files)}


def _band(interval: Interval) -> Band:
    return Band(low=interval.low, high=interval.high)
