"""The package: the files of a model version, complete in one folder."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from shared.features import feature_service_name
from shared.manifest import MANIFEST_FILE, TOKENIZER_FILE, Golden, Manifest, Variant, sha256_of
from shared.task import Task
from training_pipeline.dataset import Dataset
from training_pipeline.evaluation.evaluation import FileEvaluation
from training_pipeline.onnx_model import FULL_PRECISION
from training_pipeline.pyfunc.flavor import add_pyfunc
from training_pipeline.reproduction.record import REPRODUCTION_FILE


def complete_package(
    files: Mapping[str, FileEvaluation],
    *,
    accepted: Collection[str],
    task: Task,
    dataset: Dataset,
    golden_text: str,
    metrics: Mapping[str, float],
    reproduction: Mapping[str, Any],
) -> None:
    """Write manifest.json, repro.json and MLflow's flavor beside the exported files.

    Args:
        files: by variant, all in one folder, beside tokenizer.json; the one in full precision
            answers the golden input.
        accepted: the variants that may serve.
        task: what was trained for.
        dataset: gives the feature service and its hash.
        golden_text: a normalised text whose answer servers check before they take the version.
        metrics: measured on held-out rows.
        reproduction: what is needed to train the version again.
    """
    exported = files[FULL_PRECISION].exported
    folder = exported.folder
    columns = [feature.column for feature in dataset.service.features]
    nothing_known = np.full((1, len(columns)), np.nan, dtype=np.float32)
    manifest = Manifest(
        task=task.name,
        labels=task.labels,
        feature_service=feature_service_name(task.name),
        feature_hash=dataset.service.hash,
        features=columns,
        max_length=task.training.max_length,
        pad_token_id=exported.tokenizer.pad_token_id,
        tokenizer_sha256=sha256_of(folder / TOKENIZER_FILE),
        variants={name: _variant(file, accepted=name in accepted) for name, file in files.items()},
        golden=Golden(
            text=golden_text,
            logits=[float(x) for x in exported.logits([golden_text], nothing_known)[0]],
        ),
        subjects=task.subjects,
        sources=task.sources,
        metrics=dict(metrics),
    )
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
    record = json.dumps(reproduction, indent=2, sort_keys=True)
    (folder / REPRODUCTION_FILE).write_text(record, encoding="utf-8")
    add_pyfunc(folder, columns, task.labels)


def _variant(file: FileEvaluation, *, accepted: bool) -> Variant:
    return Variant(
        file=file.exported.path.name,
        sha256=sha256_of(file.exported.path),
        label_agreement=file.parity.label_agreement,
        max_logit_difference=file.parity.max_logit_difference,
        accepted=accepted,
    )
