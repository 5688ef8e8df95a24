"""The package: the files of a model version, complete in one flat folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.features import feature_service_name
from shared.manifest import MANIFEST_FILE, TOKENIZER_FILE, Golden, Manifest, Variant, sha256_of
from shared.task import Task
from training_pipeline.dataset import Dataset
from training_pipeline.evaluate import Parity
from training_pipeline.onnx_model import MODEL_FILE, OnnxModel
from training_pipeline.reproduction import REPRODUCTION_FILE


def complete_package(
    exported: OnnxModel,
    *,
    task: Task,
    dataset: Dataset,
    parity: Parity,
    golden_text: str,
    metrics: Mapping[str, float],
    reproduction: Mapping[str, Any],
) -> None:
    """Write manifest.json and repro.json beside the exported model and its tokenizer.

    Args:
        exported: in its folder, beside tokenizer.json; answers the golden input.
        task: what was trained for.
        dataset: gives the feature service and its hash.
        parity: of the exported file with torch, as measured.
        golden_text: a normalised text whose answer servers check before they take the version.
        metrics: measured on held-out rows.
        reproduction: what is needed to train the version again.
    """
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
        variants={
            "fp32": Variant(
                file=MODEL_FILE,
                sha256=sha256_of(folder / MODEL_FILE),
                label_agreement=parity.label_agreement,
                max_logit_difference=parity.max_logit_difference,
            )
        },
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
