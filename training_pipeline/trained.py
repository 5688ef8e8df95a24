"""What a training run made: a candidate for the registry, and what else its result tells."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from shared.task import Task
from training_pipeline.dataset import Dataset
from training_pipeline.registry.candidate import Candidate, Registered
from training_pipeline.reproduction.record import ReproductionRecord
from training_pipeline.result import GateResult, RowCounts, TrainResult


@dataclass(frozen=True)
class Trained:
    """A trained, judged and packaged model that is registered nowhere yet."""

    candidate: Candidate
    rows: RowCounts
    dataset_sha256: str

    def result(self, registered: Registered) -> TrainResult:
        """Return the run's result, now that the candidate is registered."""
        verdict = self.candidate.verdict
        notes = [*verdict.notes]
        if registered.note:
            notes.append(f"the alias stays: {registered.note}")
        return TrainResult(
            run_id=registered.run_id,
            version=registered.version,
            gate=GateResult(passed=verdict.passed, reasons=list(verdict.reasons), notes=notes),
            champion=registered.champion,
            metrics=dict(self.candidate.metrics),
            rows=self.rows,
            dataset_sha256=self.dataset_sha256,
        )


def parameters(task: Task, dataset: Dataset, rows: RowCounts) -> Mapping[str, object]:
    """Return what a person filters runs by: the training section, rows and data."""
    gate = task.training.gate.model_dump(exclude_none=True)
    return {
        **task.training.model_dump(exclude={"gate", "search"}),
        **{f"gate_{name}": value for name, value in gate.items()},
        **rows.model_dump(),
        **{f"version_{view}": version for view, version in dataset.versions.items()},
        "dataset_sha256": dataset.sha256,
    }


def candidate_id(run_id: str | None, record: ReproductionRecord) -> str:
    """Return what tells a candidate from others: chance, but for a run that may be asked twice."""
    if run_id is None:
        return uuid.uuid4().hex
    told = f"{run_id} {record.dataset.sha256} {record.fit.weight_sha256}"
    return hashlib.sha256(told.encode()).hexdigest()[:32]
