"""The reproduction record: what is needed to train a model version again."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from shared.manifest import sha256_of
from shared.task import Task
from training_pipeline.dataset import Dataset
from training_pipeline.result import RowCounts

REPRODUCTION_FILE = "repro.json"
_LIBRARIES = (
    "deltalake",
    "feast",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "polars",
    "scikit-learn",
    "tokenizers",
    "torch",
    "transformers",
)


def reproduction_record(
    task: Task, dataset: Dataset, rows: RowCounts, *, base: Path, weight_sha256: str
) -> dict[str, Any]:
    """Return the record, ready for JSON.

    Args:
        task: as resolved, with every default.
        dataset: what was read from the feature store.
        rows: how many of them were trained on and held out.
        base: the folder of the base encoder.
        weight_sha256: of the weights after training.
    """
    return {
        "code": code_state(),
        "task": task.model_dump(mode="json"),
        "seed": task.training.seed,
        "dataset": {
            "sha256": dataset.sha256,
            "versions": dict(dataset.versions),
            "rows": rows.model_dump(),
            "feature_hash": dataset.service.hash,
        },
        "base_sha256": {file.name: sha256_of(file) for file in sorted(base.glob("*.safetensors"))},
        "weight_sha256": weight_sha256,
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "machine": {
            "python": platform.python_version(),
            "system": platform.system(),
            "architecture": platform.machine(),
            "threads": len(os.sched_getaffinity(0)),
        },
    }


def code_state() -> dict[str, str | bool | None]:
    """Return the commit and whether files differ from it; nulls where the code is in no clone."""
    head = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain") if head else None
    return {"commit": head, "dirty": None if changes is None else bool(changes)}


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
