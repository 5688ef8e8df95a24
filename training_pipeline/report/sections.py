"""The sections of the report, each from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from training_pipeline.evaluation.behaviour import Outcome
from training_pipeline.evaluation.comparison import Comparison, Uncompared
from training_pipeline.evaluation.evaluation import Evaluation
from training_pipeline.evaluation.reliability import Reliability
from training_pipeline.evaluation.slices import Slice
from training_pipeline.gate.verdict import Failure, Verdict
from training_pipeline.registry import PastVersion
from training_pipeline.report.charts import interval_chart, line_chart, reliability_diagram
from training_pipeline.report.markup import Markup, table, tag

SHOWN_SLICES = 20
_SMOOTHED_OVER = 20


def verdict_section(verdict: Verdict) -> Markup:
    """Return whether the model passed; of each failure, the rows that show it."""
    word = "passed" if verdict.passed else "failed"
    return tag(
        "div",
        tag("p", tag("strong", f"Gate {word}.", class_=word)),
        *(_failure(failure, "failed") for failure in verdict.failures),
        *(_failure(failure, "note", "int8 is withheld: ") for failure in verdict.withheld),
        *(
            tag("p", f"{one.rule} was not applied: {one.reason}.", class_="note")
            for one in verdict.skipped
        ),
    )


def _failure(failure: Failure, kind: str, before: str = "") -> Markup:
    rows = [[row.mention_id, row.text, row.wanted, row.got] for row in failure.rows]
    shown = [table(["row", "text", "wanted", "got"], rows)] if rows else []
    line = tag("p", f"{before}{failure} ({failure.rule})", class_=kind)
    return tag("div", line, *shown)


def files_section(evaluation: Evaluation) -> Markup:
    """Return each exported file beside the baseline, and what the one that will serve costs."""
    rows = [
        [
            variant,
            f"{file.scores.accuracy:.4f}",
            str(file.scores.accuracy_interval),
            f"{file.scores.macro_f1:.4f}",
            f"{file.parity.label_agreement:.2%} of {file.parity.rows:,}",
            f"{file.parity.max_logit_difference:.3g}",
        ]
        for variant, file in evaluation.files.items()
    ]
    linear = evaluation.linear
    baseline = [f"{linear.accuracy:.4f}", str(linear.accuracy_interval), f"{linear.macro_f1:.4f}"]
    rows.append(["linear baseline", *baseline, "", ""])
    head = ["", "accuracy", "interval", "macro F1", "labels as torch", "farthest logit"]
    cost = evaluation.speed
    told = (
        f"{evaluation.headline} on the machine that trained: p50 {cost.p50_ms:.2f} ms, p95 "
        f"{cost.p95_ms:.2f} ms one text at a time; {cost.tokens_per_second:,.0f} tokens/s in "
        f"batches; {cost.size_mb:.1f} MB."
    )
    return tag("div", table(head, rows), tag("p", told))


def champion_section(comparison: Comparison | Uncompared) -> Markup:
    """Return how the model does beside the champion, on the same rows."""
    if isinstance(comparison, Uncompared):
        return tag("p", f"Not compared: {comparison.reason}.")
    return tag(
        "p",
        f"On the same {comparison.rows:,} rows: accuracy {comparison.accuracy:.4f} against "
        f"{comparison.champion_accuracy:.4f} of version {comparison.champion}; difference "
        f"{comparison.difference:+.4f} ({comparison.interval}). {len(comparison.gained)} rows "
        f"gained, {len(comparison.lost)} lost; McNemar's p {comparison.p_value:.3g}.",
    )


def history_section(history: Sequence[PastVersion], metrics: Mapping[str, float]) -> Markup:
    """Return accuracy and macro F1 over versions, each on the rows held out at its time."""
    names = {"accuracy": "accuracy", "macro_f1": "macro F1"}
    versions = [(past.version, past.gate, past.metrics) for past in history]
    versions.append(("this one", "", metrics))
    lines = {
        title: [
            (float(place), figures[name])
            for place, (_, _, figures) in enumerate(versions, start=1)
            if name in figures
        ]
        for name, title in names.items()
    }
    rows = [
        [version, gate, *(f"{figures[name]:.4f}" if name in figures else "" for name in names)]
        for version, gate, figures in versions
    ]
    chart = line_chart(lines, across="versions, oldest first") if history else tag("p", "None.")
    return tag("div", chart, table(["version", "gate", *names.values()], rows))


def labels_section(evaluation: Evaluation) -> Markup:
    """Return precision and recall by label, and which labels are taken for which."""
    scores = evaluation.served.scores
    rows = [
        [
            one.label,
            f"{one.rows:,}",
            f"{one.precision:.3f} ({one.precision_interval})",
            f"{one.recall:.3f} ({one.recall_interval})",
            f"{one.f1:.3f}",
        ]
        for one in scores.per_label
    ]
    per_label = table(["label", "rows", "precision", "recall", "F1"], rows)
    return tag("div", per_label, _confusion(evaluation.labels, scores.confusion))


def _confusion(labels: list[str], cells: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Markup:
    most = np.maximum(cells.sum(axis=1, keepdims=True), 1)
    rows = [
        tag(
            "tr",
            tag("th", f"truly {label}"),
            *(
                tag(
                    "td",
                    f"{count:,}",
                    class_="number",
                    style=f"background: rgba(31, 95, 168, {0.5 * share:.2f})",
                )
                for count, share in zip(cells[i], cells[i] / most[i], strict=True)
            ),
        )
        for i, label in enumerate(labels)
    ]
    head = tag("tr", tag("th", ""), *(tag("th", f"labelled {label}") for label in labels))
    return tag("table", head, *rows)


def reliability_section(found: Reliability) -> Markup:
    """Return accuracy over confidence."""
    told = f"Expected calibration error {found.error:.4f}; a circle's area is its rows."
    return tag("div", tag("p", told), reliability_diagram(found.bins))


def slices_section(found: Sequence[Slice]) -> Markup:
    """Return the worst slices with their intervals."""
    if not found:
        return tag("p", "No slice has enough rows.")
    shown = found[:SHOWN_SLICES]
    chart = interval_chart(
        [(f"{one.name} ({one.rows})", one.accuracy, one.interval) for one in shown]
    )
    return tag("div", tag("p", f"The worst {len(shown)} of {len(found)}."), chart)


def behaviour_section(outcomes: Sequence[Outcome]) -> Markup:
    """Return how behavioural tests came out, with a broken case of each."""
    if not outcomes:
        return tag("p", "The task names no behavioural tests.")
    rows = []
    for one in outcomes:
        first = one.broken[0] if one.broken else None
        example = f"{first.text} · wanted {first.wanted}, got {first.got}" if first else ""
        passed = f"{one.passed} of {one.cases}"
        rows.append(
            [one.name, one.kind.upper(), one.aspect, passed, f"{one.pass_rate:.1%}", example]
        )
    return table(["test", "kind", "aspect", "passed", "rate", "a broken case"], rows)


def loss_section(losses: Sequence[float]) -> Markup:
    """Return the loss over steps, each point the mean of the steps up to it."""
    window = min(_SMOOTHED_OVER, len(losses))
    if window == 0:
        return tag("p", "No steps were taken.")
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    points = [(float(step), float(loss)) for step, loss in enumerate(smooth, start=window)]
    return line_chart({f"mean loss of {window} steps": points}, across="step")
