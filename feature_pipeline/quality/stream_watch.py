"""Data quality of the stream: watched, told, and never in its way."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from feature_pipeline.definition.transform import Tables
from feature_pipeline.quality.expectations import expectations_of
from feature_pipeline.quality.findings import measure
from feature_pipeline.quality.metrics import QualityMetrics
from shared.features import MENTION_LABEL, MENTION_TEXT
from shared.logs import get_logger
from shared.task import Task

_log = get_logger(__name__)


class StreamWatch:
    """Judges the rows of the stream a window at a time.

    A batch of a quiet stream holds a few rows, of which shares say nothing. So rows wait until
    there are as many as the task's window asks for; a look at them costs one pass. Rows that wait
    when the worker ends are not judged.
    """

    def __init__(self, task: Task, metrics: QualityMetrics) -> None:
        self._window = task.quality.window
        self._metrics = metrics
        known = [one for one in expectations_of(task) if not one.of_history]
        metrics.expect(known)
        self._expectations = {
            view: [one for one in known if one.view == view]
            for view in (MENTION_TEXT, MENTION_LABEL)
        }
        self._waiting: dict[str, list[pl.DataFrame]] = {view: [] for view in self._expectations}

    def observe(self, written: Iterable[Tables]) -> None:
        """Look at rows that were written. Whatever goes wrong here is logged and counted only."""
        try:
            for tables in written:
                for view, waiting in self._waiting.items():
                    if not tables[view].is_empty():
                        waiting.append(tables[view])
            for view, waiting in self._waiting.items():
                if sum(rows.height for rows in waiting) >= self._window:
                    self._waiting[view] = []
                    self._judge(view, pl.concat(waiting))
        except Exception:  # noqa: BLE001 - a mistake in the check must not stop the stream
            self._metrics.errors.inc()
            _log.exception("quality check failed")

    def _judge(self, view: str, rows: pl.DataFrame) -> None:
        findings = measure(self._expectations[view], rows)
        self._metrics.count(findings)
        for finding in findings:
            if not finding.holds:
                _log.warning("quality expectation broken", finding=str(finding))
