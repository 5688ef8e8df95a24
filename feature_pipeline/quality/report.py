"""The report on a whole history: findings, examples, and a page to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from prometheus_client import CollectorRegistry, write_to_textfile

from feature_pipeline.definition.transform import Tables
from feature_pipeline.quality.expectations import LABELLED, Expectation, expectations_of
from feature_pipeline.quality.findings import Finding, most_failing
from feature_pipeline.quality.metrics import QualityMetrics
from shared.features import MENTION_LABEL, MENTION_TEXT
from shared.task import Task

if TYPE_CHECKING:
    from pointblank import Validate

_EXAMPLES = 3
_KEPT_EXAMPLES = 100
_SHOWN_CHARS = 60


@dataclass(frozen=True)
class Report:
    """What a history shows of its task's expectations.

    Attributes:
        findings: one for each expectation.
        examples: by expectation, some rows that fail it, for people.
    """

    title: str
    findings: Sequence[Finding]
    examples: dict[str, list[str]]
    _checked: Sequence[Validate]

    @property
    def broken(self) -> list[Finding]:
        """The expectations that do not hold."""
        return [finding for finding in self.findings if not finding.holds]

    def page(self) -> str:
        """Return all of it as HTML, with tables of failing rows to download."""
        tables = [checked.get_tabular_report().as_raw_html() for checked in self._checked]
        body = "\n".join(tables) or "<p>No rows.</p>"
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{escape(self.title)}</title></head><body>\n{body}\n</body></html>\n"
        )

    def write(self, folder: Path, name: str) -> Path:
        """Write the page, and the figures as a node exporter's textfile collector reads them.

        A page of the same name is replaced.

        Returns:
            The path of the page.
        """
        folder.mkdir(parents=True, exist_ok=True)
        page = folder / f"{name}.html"
        page.write_text(self.page(), encoding="utf-8")
        registry = CollectorRegistry()
        QualityMetrics(registry).count(self.findings)
        write_to_textfile(str(folder / "latest.prom"), registry)
        return page


def report_on(task: Task, tables: Tables, title: str) -> Report:
    """Hold a whole history against its task's expectations.

    Args:
        task: expects.
        tables: rows of ``mention_text`` and ``mention_label``; others are left alone.
        title: of the page.
    """
    texts, labels = tables[MENTION_TEXT], tables[MENTION_LABEL]
    is_labelled = pl.col("mention_id").is_in(labels["mention_id"].unique().implode())
    views = {MENTION_TEXT: texts.with_columns(is_labelled.alias(LABELLED)), MENTION_LABEL: labels}
    findings: list[Finding] = []
    examples: dict[str, list[str]] = {}
    steps: list[Validate] = []
    for view, rows in views.items():
        expectations = [one for one in expectations_of(task) if one.view == view]
        if rows.is_empty():
            findings += [Finding(expectation, 0, 0) for expectation in expectations]
            continue
        checked = _interrogated(expectations, rows, title)
        for step, expectation in enumerate(expectations, start=1):
            finding = Finding(expectation, rows.height, _failing(checked, step))
            findings.append(finding)
            if finding.failing:
                examples[expectation.name] = _examples(checked, step)
        steps.append(checked)
    return Report(title, findings, examples, steps)


def _interrogated(expectations: Sequence[Expectation], rows: pl.DataFrame, title: str) -> Validate:
    # Its import takes a second, which commands that report nothing do not pay.
    import pointblank as pb

    # What it puts into its pages it does not escape.
    plan = pb.Validate(rows, tbl_name=expectations[0].view, label=escape(title))
    for expectation in expectations:
        plan = plan.col_vals_expr(
            expr=~expectation.failing,
            brief=escape(f"{expectation.name}: {expectation.says}"),
            # The library calls it an error from this many rows on.
            thresholds=pb.Thresholds(error=most_failing(expectation, rows.height) + 1),
        )
    return plan.interrogate(extract_limit=_KEPT_EXAMPLES)


def _failing(checked: Validate, step: int) -> int:
    counts = checked.n_failed(i=step)
    return int(counts[step])


def _examples(checked: Validate, step: int) -> list[str]:
    rows: pl.DataFrame = checked.get_data_extracts(i=step, frame=True)
    column = "text" if "text" in rows.columns else "label"
    return [
        f"{mention}: {str(value)[:_SHOWN_CHARS]!r}"
        for mention, value in rows.select("mention_id", column).head(_EXAMPLES).iter_rows()
    ]
