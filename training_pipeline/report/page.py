"""The page: what was trained, how good it is, what the gate says; one file, nothing outside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from training_pipeline.evaluation.evaluation import Evaluation
from training_pipeline.gate.verdict import Verdict
from training_pipeline.registry import PastVersion
from training_pipeline.report.markup import Markup, tag
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

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; color: #222 }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; margin: .6rem 0 }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; vertical-align: top }
th, td { text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.passed { color: #2e6e2e } .failed { color: #a8241f } .note { color: #7a5a00 }
svg { max-width: 100%; height: auto } svg .guide { stroke: #ddd }
svg text { font: 12px system-ui, sans-serif; fill: #444 }
svg .row { text-anchor: end } svg .tick { text-anchor: middle } svg .name { font-weight: 600 }
"""


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
    body = tag(
        "body",
        tag("h1", title),
        tag("p", told),
        *(tag("section", tag("h2", name), make()) for name, make in sections.items()),
    )
    charset = Markup('<meta charset="utf-8">')
    head = tag("head", charset, tag("title", title), tag("style", Markup(STYLE)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"
