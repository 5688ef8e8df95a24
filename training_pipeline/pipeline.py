"""The training pipeline: from labelled mentions to a gated model version."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from shared.errors import StateError
from shared.task import Task
from training_pipeline.baseline import baseline_labels
from training_pipeline.dataset import DatasetSource
from training_pipeline.encoder import load_tokenizer, resolve_base
from training_pipeline.evaluation.behaviour_file import load_behaviour
from training_pipeline.evaluation.champion import ChampionPackage, FeatureSchema
from training_pipeline.evaluation.evaluation import Examination, evaluate
from training_pipeline.evaluation.measurements import measurements
from training_pipeline.evaluation.scores import score
from training_pipeline.export import export
from training_pipeline.fit import Execution, fit
from training_pipeline.gate.rules import accepts_int8, judge
from training_pipeline.kept import KeptError, KeptResults
from training_pipeline.onnx_model import FULL_PRECISION, INT8, INT8_FILE
from training_pipeline.package import complete_package
from training_pipeline.progress import TrainingProgress
from training_pipeline.quantise import quantise
from training_pipeline.registry import Candidate, ModelRegistry
from training_pipeline.report.page import Training, report
from training_pipeline.reproduction.code import CodeState, code_state
from training_pipeline.reproduction.recording import evaluation_record, reproduction_record
from training_pipeline.result import TrainResult
from training_pipeline.split import row_counts, split
from training_pipeline.system_metrics import SystemMonitor
from training_pipeline.trained import Trained, candidate_id, parameters


class TrainingPipeline:
    """Trains a task: load, split, baseline, fit, export, evaluate, gate, register."""

    def __init__(
        self, source: DatasetSource, registry: ModelRegistry, kept: KeptResults | None = None
    ) -> None:
        """Take where rows come from and where models go.

        Args:
            source: of labelled mentions.
            registry: of models.
            kept: keeps what the registry does not take; without it, that is lost.
        """
        self.source = source
        self.registry = registry
        self.kept = kept

    def run(
        self,
        task: Task,
        *,
        folder: Path,
        progress: TrainingProgress,
        reason: str,
        execution: Execution | None = None,
        code: CodeState | None = None,
        run_id: str | None = None,
    ) -> TrainResult:
        """Train once.

        Args:
            task: what to train for.
            folder: an empty folder, in which the files of the version are made.
            progress: hears of every stage.
            reason: why the run was asked for; kept with the version.
            execution: what the fit runs on, and where it is saved; by default only here, and not.
            code: the code that runs; by default it is looked at now.
            run_id: whoever asks for the same run again, and comes to the same weights, makes no
                second version.

        Raises:
            KeptError: the registry did not take the model, which is kept.
            FtiError: the task, the data or the registry does not allow it.
        """
        execution, code = execution or Execution(), code or code_state()
        with SystemMonitor() as system:
            trained = self._train(
                task,
                folder=folder,
                progress=progress,
                reason=reason,
                execution=execution,
                code=code,
                run_id=run_id,
            )
        progress.stage("register")
        # Whoever asks to stop from now on comes too late: what is registered has its result, too.
        execution.stop.complete()
        candidate = replace(trained.candidate, system=system.samples)
        result = self._register(replace(trained, candidate=candidate), run_id)
        progress.step(1, 1)
        return result

    def _train(
        self,
        task: Task,
        *,
        folder: Path,
        progress: TrainingProgress,
        reason: str,
        execution: Execution,
        code: CodeState,
        run_id: str | None,
    ) -> Trained:
        """Do all but registering."""
        started_at = time.time()
        training, labels = task.training, task.labels
        base = resolve_base(training.base)
        tokenizer = load_tokenizer(base, training.max_length)
        behaviour = load_behaviour(task)
        self.registry.check()  # now, not after hours of training
        history = self.registry.history(task.name)

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

        rows = row_counts(dataset.rows, parts)
        metrics = {**measurements(evaluation), **fitted.metrics}
        exact = evaluation.files[FULL_PRECISION]
        record = reproduction_record(
            task,
            dataset,
            rows,
            code=code.code,
            base=base,
            fitted=fitted,
            processes=execution.processes,
            evaluation=evaluation_record(exact.logits, exact.scores, parts.holdout, labels),
        )
        complete_package(
            evaluation.files,
            accepted=evaluation.serving,
            task=task,
            dataset=dataset,
            golden_text=str(parts.holdout.texts[-1]),
            metrics=metrics,
            reproduction=record.as_json(),
        )
        candidate = Candidate(
            name=task.name,
            folder=folder,
            feature_hash=dataset.service.hash,
            verdict=verdict,
            reason=reason,
            started_at=started_at,
            params=parameters(task, dataset, rows),
            metrics=metrics,
            losses=fitted.losses,
            reproduction=record.as_json(),
            report=report(
                Training(
                    task=task.name,
                    reason=reason,
                    rows=rows,
                    losses=fitted.losses,
                    evaluation=evaluation,
                    verdict=verdict,
                    metrics=metrics,
                    history=history,
                )
            ),
            code_diff=code.diff.decode(errors="replace"),
            champion=champion.version if champion else None,
            candidate_id=candidate_id(run_id, record),
        )
        return Trained(candidate, rows, dataset.sha256)

    def _register(self, trained: Trained, run_id: str | None) -> TrainResult:
        """Register what was trained; keep it if the registry does not take it."""
        try:
            return trained.result(self.registry.register(trained.candidate))
        except StateError as error:
            if self.kept is None:
                raise
            moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            name = run_id or f"{moment}-{trained.candidate.name}"
            raise KeptError(self.kept.keep(name, trained), error.found) from error

    @contextmanager
    def _champion(self, task: Task, folder: Path) -> Iterator[ChampionPackage | None]:
        """Give the champion's files for a while, outside the folder of the version."""
        # Named so that the workspace sweeps it when this process is killed.
        prefix = f"run-{os.getpid()}-champion-"
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as fetched:
            yield self.registry.fetch_champion(task.name, Path(fetched))
