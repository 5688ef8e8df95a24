"""Loading a file of history."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from feature_pipeline.batch.backfill import BackfillReport
from feature_pipeline.bootstrap.history import backfill
from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.commands.command import Command, count, moment
from feature_pipeline.progress import RichProgress
from shared.errors import InputError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", type=Path, required=True, help="the file")
    parser.add_argument(
        "--now",
        type=moment,
        help="the moment by which all of it is known, not a later one than now (default: now)",
    )
    parser.add_argument(
        "--hold-back",
        type=count,
        default=0,
        metavar="N",
        help="leave out the newest N mentions, to post them as events later",
    )


def _run(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    console = Console(stderr=True)
    now = _checked(options.now, datetime.now(UTC))
    report = backfill(pipeline, options.input, now, RichProgress(console), options.hold_back)
    _show(console, pipeline, report)


def _checked(now: datetime | None, clock: datetime) -> datetime:
    """Return the moment by which all is known.

    The log gives each later event a later moment: after one in the future, all would be known then,
    and no window would forget before.

    Raises:
        InputError: it lies in the future.
    """
    if now is not None and now > clock:
        raise InputError(
            "--now",
            expected=f"a moment that has been; it is {clock:%Y-%m-%dT%H:%M:%SZ}",
            found=now.isoformat(),
            remedy="Leave it out, or set this machine's clock.",
        )
    return now or clock


def _show(console: Console, pipeline: FeaturePipeline, report: BackfillReport) -> None:
    task = pipeline.task
    table = Table(title=f"Backfill of {task.name}", title_justify="left")
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_row("rows read", f"{report.rows:,}")
    table.add_row("mentions", f"{report.mentions:,}")
    table.add_row("labels", f"{report.labels:,}")
    table.add_row("duplicates", f"{report.duplicates:,}")
    table.add_row("rejected (python -m feature_pipeline dead-letters)", f"{report.rejected:,}")
    for view, rows in report.table_rows.items():
        table.add_row(f"rows of {view}, offline", f"{rows:,}")
    for view, keys in report.online_keys.items():
        table.add_row(f"keys of {view}, online", f"{keys:,}")
    console.print(table)
    if task.input.replay is not None:
        console.print("Arrival times are simulated: the texts carry none (see the task file).")
    for reason in report.first_reasons:
        console.print(f"rejected: {reason}", markup=False)


BACKFILL = Command("backfill", "load a file of history", _run, _add_arguments)
