"""The page of a training: what was trained, how good it is, what the gate says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from training_pipeline.evaluation.evaluation import Evaluation
from training_pipeline.gate.verdict import Verdict
from training_pipeline.registry import PastVersion
from training_pipeline.report.document import document
from training_pipeline.report.markup import Markup
from training_pipeline.report.sections import (
    behaviour_section,
    champion_section,
    files_section,
    history_section,
    labels_section,
    loss_section,
    reliability_section,
    slices_section,
    verdict_section,
)
from training_pipeline.result import RowCounts


@dataclass(frozen=True)
class Training:
    """All that a page tells of."""

    task: str
    reason: str
    """Why the run was asked for."""
    rows: RowCounts
    losses: Sequence[float]
    evaluation: Evaluation
    verdict: Verdict
    metrics: Mapping[str, float]
    history: Sequence[PastVersion]
    """Versions before this one, oldest first."""


def report(training: Training) -> str:
    """Return the page as HTML."""
    evaluation, rows = training.evaluation, training.rows
    sections: dict[str, Callable[[], Markup]] = {
        "Verdict": lambda: verdict_section(training.verdict),
        "Exported files": lambda: files_section(evaluation),
        "Champion": lambda: champion_section(evaluation.comparison),
        "Earlier versions": lambda: history_section(training.history, training.metrics),
        "Labels": lambda: labels_section(evaluation),
        "Reliability": lambda: reliability_section(evaluation.reliability),
        "Slices": lambda: slices_section(evaluation.slices),
        "Behaviour": lambda: behaviour_section(evaluation.behaviour),
        "Loss": lambda: loss_section(training.losses),
    }
    told = (
        f"Why: {training.reason}. Of {rows.labelled:,} labelled texts {rows.folded:,} were "
        f"near-copies; {rows.train:,} were learned from, the newest {rows.holdout:,} held out. "
        f"Figures are of the {evaluation.headline} file where no other is named; intervals are of "
        "95 %."
    )
    title = f"Training of {training.task}"
    return document(title, told, {name: make() for name, make in sections.items()})
