"""Upkeep of what grows: tables and log."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.bootstrap.upkeep import maintain, trim_log
from feature_pipeline.commands.command import Command, duration
from feature_pipeline.maintenance.delta_upkeep import TableSize
from feature_pipeline.maintenance.tables import TableReport, Upkeep
from feature_pipeline.progress import RichProgress


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Tends the offline tables and the event log while all services run. Without --compact and"
        " --vacuum it does both; rows and log entries go only if their age is given."
    )
    parser.add_argument("--compact", action="store_true", help="join small files of the tables")
    parser.add_argument(
        "--vacuum",
        action="store_true",
        help="delete files that only versions older than FTI_FEATURES_KEEP_VERSIONS_DAYS need",
    )
    parser.add_argument(
        "--retain",
        type=duration,
        metavar="AGE",
        help="drop rows that were known longer ago, such as 90d; the last activity row of each"
        " subject and source before that stays",
    )
    parser.add_argument(
        "--trim-log",
        type=duration,
        metavar="AGE",
        help="forget log entries that are older, such as 7d, and that the stream has done with",
    )
    parser.add_argument("--dry-run", action="store_true", help="tell what would be done")


def _run(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    console = Console(stderr=True)
    progress, now = RichProgress(console), datetime.now(UTC)
    both = not (options.compact or options.vacuum or options.retain or options.trim_log)
    upkeep = Upkeep(
        compact=options.compact or both,
        vacuum=options.vacuum or both,
        retain=options.retain,
        keep_versions=timedelta(days=pipeline.settings.features_keep_versions_days),
        dry_run=options.dry_run,
    )
    _show(console, maintain(pipeline, upkeep, now, progress), upkeep)
    if options.trim_log is not None:
        entries = trim_log(pipeline, now - options.trim_log, dry_run=options.dry_run)
        verb = "would be forgotten" if options.dry_run else "forgotten"
        console.print(f"log entries {verb}: {entries:,}")


def _show(console: Console, reports: list[TableReport], upkeep: Upkeep) -> None:
    title = "Upkeep of the offline tables" + (", nothing changed: dry run" * upkeep.dry_run)
    table = Table(title=title, title_justify="left")
    table.add_column("table")
    for name in ("rows", "files", "size", "rows dropped", "files joined", "files deleted"):
        table.add_column(name, justify="right")
    for report in reports:
        table.add_row(
            report.view,
            _change(f"{report.before.rows:,}", f"{report.after.rows:,}"),
            _change(f"{report.before.files:,}", f"{report.after.files:,}"),
            _change(_size(report.before), _size(report.after)),
            f"{report.dropped_rows:,}",
            f"{report.joined_files:,}",
            f"{report.deleted_files:,}",
        )
    console.print(table)


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"


def _size(size: TableSize) -> str:
    return f"{size.bytes / 1_000_000:,.1f} MB"


MAINTAIN = Command("maintain", "tend the offline tables and the event log", _run, _add_arguments)
