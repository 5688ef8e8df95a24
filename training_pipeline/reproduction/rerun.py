"""The rerun: a recorded run once more, up to what its exported file answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from shared.errors import StateError
from shared.task import Task
from shared.validation import first_error
from training_pipeline.dataset import DatasetSource
from training_pipeline.encoder import load_tokenizer, resolve_base
from training_pipeline.evaluation.scores import score
from training_pipeline.export import export
from training_pipeline.fit import Execution, fit
from training_pipeline.progress import TrainingProgress
from training_pipeline.reproduction.code import CodeState
from training_pipeline.reproduction.record import ReproductionRecord
from training_pipeline.reproduction.recording import evaluation_record, reproduction_record
from training_pipeline.split import row_counts, split


@dataclass(frozen=True)
class Rerun:
    """What a rerun came to."""

    record: ReproductionRecord
    losses: list[float]


def rerun(
    task: Task,
    source: DatasetSource,
    *,
    folder: Path,
    progress: TrainingProgress,
    execution: Execution,
    code: CodeState,
) -> Rerun:
    """Train as recorded: the same stages as a training has, without baseline, gate and registry.

    Args:
        task: as it was resolved then.
        source: reads the tables at the versions that were read then.
        folder: an empty folder for the exported file.
        progress: hears of every stage.
        execution: what the fit runs on, and where it is saved.
        code: the code that runs.

    Raises:
        FtiError: the data or the base encoder does not allow it.
    """
    training, labels = task.training, task.labels
    base = resolve_base(training.base)
    tokenizer = load_tokenizer(base, training.max_length)

    progress.stage("load")
    dataset = source.read(task)

    progress.stage("split")
    parts = split(dataset.rows, training, labels)

    progress.stage("fit")
    fitted = fit(
        parts.train, task, base=base, tokenizer=tokenizer, progress=progress, execution=execution
    )

    progress.stage("export")
    exported = export(fitted.model, tokenizer, folder, max_length=training.max_length)

    progress.stage("evaluate")
    logits = exported.logits(parts.holdout.texts.tolist(), parts.holdout.features)
    predicted = np.asarray(logits.argmax(axis=1), dtype=np.int64)
    scores = score(predicted, parts.holdout.labels, labels, seed=training.seed)
    record = reproduction_record(
        task,
        dataset,
        row_counts(dataset.rows, parts),
        code=code.code,
        base=base,
        fitted=fitted,
        processes=execution.processes,
        evaluation=evaluation_record(logits, scores, parts.holdout, labels),
    )
    progress.step(1, 1)
    return Rerun(record, fitted.losses)


def recorded_task(record: ReproductionRecord, place: str) -> Task:
    """Return the task of a record.

    Raises:
        StateError: this code knows tasks of another shape.
    """
    try:
        return Task.model_validate(record.task)
    except ValidationError as error:
        field, expected, found = first_error(error)
        commit = record.environment.code.commit or "of the release that trained it"
        raise StateError(
            f"{place}, task, {field}",
            expected=expected,
            found=found,
            remedy=f"This code knows tasks of another shape: check out commit {commit}.",
        ) from error
