"""The gate of a backfill: history that is not as expected is not written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from feature_pipeline.definition.transform import Tables
from feature_pipeline.quality.expectations import expectations_of
from feature_pipeline.quality.findings import measure
from feature_pipeline.quality.report import Report, report_on
from shared.errors import InputError
from shared.features import MENTION_LABEL, MENTION_TEXT
from shared.quality_section import Quality
from shared.task import Task


@dataclass(frozen=True)
class QualityGate:
    """Reports on a history, and stops it where the task says so.

    Attributes:
        folder: where reports are written.
    """

    task: Task
    folder: Path

    def report(self, source: str, tables: Tables) -> tuple[Report, Path]:
        """Return the report on a history, and where it stands to read.

        A source has one page, the last: pages hold texts, and must not outlive them in number.

        Args:
            source: the name of the file that the rows are from.
            tables: its rows of ``mention_text`` and ``mention_label``.
        """
        report = report_on(self.task, tables, f"{self.task.name}: {source}")
        name = "".join(char if char.isalnum() or char in "-_" else "_" for char in source)
        return report, report.write(self.folder, name)

    def check(self, source: str, tables: Tables) -> None:
        """Return if a backfill may go on.

        A task that expects nothing of its own gets no report that nothing is wrong.

        Raises:
            InputError: an expectation does not hold, and the task stops backfills for it.
        """
        if self.task.quality == Quality() and _holds(self.task, tables):
            return
        report, page = self.report(source, tables)
        if report.broken and self.task.quality.stop_backfill:
            raise broken(source, report, page)


def _holds(task: Task, tables: Tables) -> bool:
    """Tell whether everything is as expected, without the library's second or two."""
    expectations = expectations_of(task)
    return all(
        finding.holds
        for view in (MENTION_TEXT, MENTION_LABEL)
        for finding in measure([one for one in expectations if one.view == view], tables[view])
    )


def broken(source: str, report: Report, page: Path) -> InputError:
    """Return the error for a history that is not as expected: the first expectation, and rows."""
    first = report.broken[0]
    expected = first.expectation
    rows = "; ".join(report.examples.get(expected.name, ()))
    others = "".join(f", {finding.expectation.name}" for finding in report.broken[1:])
    return InputError(
        f"{source}, {expected.view}, expectation {expected.name}",
        expected=f"at most {expected.allowed:.2%} of the rows otherwise than: {expected.says}",
        found=f"{first.failing} of {first.rows} ({first.share:.2%}), such as {rows}"
        + (f"; broken as well{others.replace(', ', ': ', 1)}" if others else ""),
        remedy=f"{page} shows all. Mend the data, or what [quality] of the task file expects.",
    )
