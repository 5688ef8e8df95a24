"""The training pipeline: from labelled mentions to a gated model version."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from shared.task import Task
from training_pipeline.baseline import baseline_labels
from training_pipeline.dataset import Dataset
from training_pipeline.encoder import load_tokenizer, resolve_base
from training_pipeline.evaluation.behaviour_file import load_behaviour
from training_pipeline.evaluation.champion import ChampionPackage, FeatureSchema
from training_pipeline.evaluation.evaluation import Examination, evaluate
from training_pipeline.evaluation.measurements import measurements
from training_pipeline.evaluation.scores import score
from training_pipeline.export import export
from training_pipeline.fit import Execution, fit
from training_pipeline.gate.rules import accepts_int8, judge
from training_pipeline.model import weight_hash
from training_pipeline.onnx_model import FULL_PRECISION, INT8, INT8_FILE
from training_pipeline.package import complete_package
from training_pipeline.progress import TrainingProgress
from training_pipeline.quantise import quantise
from training_pipeline.registry import Candidate, ModelRegistry
from training_pipeline.report.page import Training, report
from training_pipeline.reproduction import reproduction_record
from training_pipeline.result import GateResult, RowCounts, TrainResult
from training_pipeline.split import Split, split


class DatasetSource(Protocol):
    """Where labelled mentions come from."""

    def read(self, task: Task) -> Dataset:
        """Return all labelled mentions of a task."""


class TrainingPipeline:
    """Trains a task: load, split, baseline, fit, export, evaluate, gate, register."""

    def __init__(self, source: DatasetSource, registry: ModelRegistry) -> None:
        self.source = source
        self.registry = registry

    def run(
        self,
        task: Task,
        *,
        folder: Path,
        progress: TrainingProgress,
        reason: str,
        execution: Execution | None = None,
    ) -> TrainResult:
        """Train once.

        Args:
            task: what to train for.
            folder: an empty folder, in which the files of the version are made.
            progress: hears of every stage.
            reason: why the run was asked for; kept with the version.
            execution: what the fit runs on, and where it is saved; by default only here, and not.

        Raises:
            FtiError: the task, the data or the registry does not allow it.
        """
        started_at = time.time()
        training, labels = task.training, task.labels
        base = resolve_base(training.base)
        tokenizer = load_tokenizer(base, training.max_length)
        behaviour = load_behaviour(task)

        progress.stage("load")
        dataset = self.source.read(task)

        progress.stage("split")
        parts = split(dataset.rows, training, labels)

        progress.stage("baseline")
        linear = score(baseline_labels(parts.train, parts.holdout), parts.holdout.labels, labels)

        progress.stage("fit")
        fitted = fit(
            parts.train,
            task,
            base=base,
            tokenizer=tokenizer,
            progress=progress,
            execution=execution,
        )

        progress.stage("export")
        exported = export(fitted.model, tokenizer, folder, max_length=training.max_length)
        small = quantise(exported.path, folder / INT8_FILE)
        files = {FULL_PRECISION: exported, INT8: exported.beside(small)}

        progress.stage("evaluate")
        with self._champion(task, folder) as champion:
            evaluation = evaluate(
                files,
                fitted.model,
                parts.holdout,
                linear,
                Examination(
                    labels=labels,
                    schema=FeatureSchema(
                        dataset.service.hash,
                        [feature.column for feature in dataset.service.features],
                    ),
                    behaviour=behaviour,
                    champion=champion,
                    min_slice_rows=training.gate.min_slice_rows,
                    seed=training.seed,
                ),
                accepts_int8=partial(accepts_int8, training.gate),
            )

        progress.stage("gate")
        verdict = judge(training.gate, evaluation)

        progress.stage("register")
        rows = row_counts(dataset, parts)
        metrics = {**measurements(evaluation), **fitted.metrics}
        record = reproduction_record(
            task, dataset, rows, base=base, weight_sha256=weight_hash(fitted.model)
        )
        complete_package(
            evaluation.files,
            accepted=evaluation.serving,
            task=task,
            dataset=dataset,
            golden_text=str(parts.holdout.texts[-1]),
            metrics=metrics,
            reproduction=record,
        )
        registered = self.registry.register(
            Candidate(
                name=task.name,
                folder=folder,
                feature_hash=dataset.service.hash,
                verdict=verdict,
                reason=reason,
                started_at=started_at,
                params=parameters(task, dataset, rows),
                metrics=metrics,
                losses=fitted.losses,
                reproduction=record,
                report=report(
                    Training(
                        task=task.name,
                        reason=reason,
                        rows=rows,
                        losses=fitted.losses,
                        evaluation=evaluation,
                        verdict=verdict,
                        metrics=metrics,
                        history=self.registry.history(task.name),
                    )
                ),
            )
        )
        progress.step(1, 1)
        return TrainResult(
            run_id=registered.run_id,
            version=registered.version,
            gate=GateResult(
                passed=verdict.passed, reasons=list(verdict.reasons), notes=list(verdict.notes)
            ),
            metrics=metrics,
            rows=rows,
            dataset_sha256=dataset.sha256,
        )

    @contextmanager
    def _champion(self, task: Task, folder: Path) -> Iterator[ChampionPackage | None]:
        """Give the champion's files for a while, outside the folder of the version."""
        # Named so that the workspace sweeps it when this process is killed.
        prefix = f"run-{os.getpid()}-champion-"
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as fetched:
            yield self.registry.fetch_champion(task.name, Path(fetched))


def parameters(task: Task, dataset: Dataset, rows: RowCounts) -> Mapping[str, object]:
    """Return what a person filters runs by: the training section, rows and data."""
    gate = task.training.gate.model_dump(exclude_none=True)
    return {
        **task.training.model_dump(exclude={"gate"}),
        **{f"gate_{name}": value for name, value in gate.items()},
        **rows.model_dump(),
        **{f"version_{view}": version for view, version in dataset.versions.items()},
        "dataset_sha256": dataset.sha256,
    }


def row_counts(dataset: Dataset, parts: Split) -> RowCounts:
    """Return how many labelled mentions went where."""
    return RowCounts(
        labelled=len(dataset.rows),
        folded=parts.folded,
        train=len(parts.train),
        holdout=len(parts.holdout),
    )
