"""The fingerprint of a fit: what must be the same for a checkpoint to be gone on with."""

from __future__ import annotations

import torch

from shared.task import Task
from training_pipeline.fit.examples import Examples
from training_pipeline.fit.processes import Processes
from training_pipeline.model import MentionClassifier, weight_hash

FORMAT = 1
INITIAL_WEIGHTS = "weights at the start"
_MOST_NAMED = 5

Fingerprint = dict[str, str]


def fingerprint_of(
    task: Task, examples: Examples, model: MentionClassifier, processes: Processes
) -> Fingerprint:
    """Return what decides the weights that a fit comes to, by name.

    Args:
        task: gives labels and training; the gate and the search decide nothing here.
        examples: all rows, those to validate on included.
        model: before its first step.
        processes: how many compute, and on what.
    """
    training = task.training.model_dump(mode="json", exclude={"gate", "search", "preset", "base"})
    return {
        **{f"training.{name}": str(value) for name, value in training.items()},
        "labels": ", ".join(task.labels),
        "rows": f"{len(examples)} of SHA-256 {examples.sha256}",
        INITIAL_WEIGHTS: weight_hash(model),
        "processes": str(processes.world),
        "device": processes.device.type,
        "torch": str(torch.__version__),
        "format": str(FORMAT),
    }


def differences(found: Fingerprint, expected: Fingerprint) -> str:
    """Return in words how two fingerprints differ; nothing if they do not.

    >>> differences({"processes": "2"}, {"processes": "1"})
    'processes 2, not 1'
    """
    names = [name for name in expected | found if found.get(name) != expected.get(name)]
    told = [
        f"{name} {found.get(name, 'unknown')}, not {expected.get(name, 'unknown')}"
        for name in names[:_MOST_NAMED]
    ]
    return "; ".join([*told, *(["and more"] if len(names) > len(told) else [])])
