"""Holding a file of history against what its task expects."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from feature_pipeline.bootstrap.history import quality
from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.commands.command import Command, moment
from feature_pipeline.quality.gate import broken
from feature_pipeline.quality.report import Report


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", type=Path, required=True, help="the file; it is not loaded")
    parser.add_argument(
        "--now", type=moment, help="the moment by which all of it is known (default: now)"
    )


def _run(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    history, report, page = quality(pipeline, options.input, options.now or datetime.now(UTC))
    console = Console(stderr=True)
    _show(console, pipeline, report)
    reasons = "".join(f"; the first: {letter.reason}" for letter in history.rejected[:1])
    told = f"{len(history.rejected):,} of {history.rows:,} rows rejected{reasons}"
    console.print(told, markup=False)
    if report.broken:
        raise broken(options.input.name, report, page)
    console.print(f"All as expected; {page} shows it.", markup=False)


def _show(console: Console, pipeline: FeaturePipeline, report: Report) -> None:
    table = Table(title=f"Data quality of {pipeline.task.name}", title_justify="left")
    table.add_column("expectation")
    table.add_column("a row should be such that it")
    for column in ("rows", "failing", "share", "allowed"):
        table.add_column(column, justify="right")
    for finding in report.findings:
        expected = finding.expectation
        table.add_row(
            expected.name,
            expected.says,
            f"{finding.rows:,}",
            f"{finding.failing:,}",
            f"{finding.share:.2%}",
            f"{expected.allowed:.2%}",
            style=None if finding.holds else "bold red",
        )
    console.print(table)


QUALITY = Command("quality", "check a file without loading it", _run, _add_arguments)
