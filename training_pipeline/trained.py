"""What a training run made: a candidate for the registry, and what else its result tells."""

from __future__ import annotations

from dataclasses import dataclass

from training_pipeline.registry.candidate import Candidate, Registered
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
