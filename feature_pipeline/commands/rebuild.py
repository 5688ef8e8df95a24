"""Making features anew from the log or from the offline tables."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from feature_pipeline.batch.rebuild import Origin
from feature_pipeline.bootstrap.history import rebuild
from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.commands.command import Command
from feature_pipeline.progress import RichProgress


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Makes the activity tables, the online store and the state of the stream anew; stop the"
        " stream first. The gateway may run. The stream goes on after what was rebuilt."
    )
    parser.add_argument(
        "--from",
        dest="origin",
        type=Origin,
        choices=list(Origin),
        default=Origin.OFFLINE,
        help="offline (default): believe the tables mention_text and mention_label; log: believe"
        " the event log for all since the last backfill or rebuild, and mend those tables from it",
    )
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="go on although tables and log hold less than was counted before: the rest is lost",
    )


def _run(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    console = Console(stderr=True)
    progress = RichProgress(console)
    report = rebuild(pipeline, options.origin, progress, accept_loss=options.accept_loss)
    table = Table(title=f"Rebuild of {pipeline.task.name}", title_justify="left")
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_row("mentions", f"{report.mentions:,}")
    table.add_row("labels", f"{report.labels:,}")
    if report.left_out:
        table.add_row("labels left out: retention dropped their mentions", f"{report.left_out:,}")
    for view, rows in report.restored.items():
        table.add_row(f"rows of {view} brought from the log", f"{rows:,}")
    for view, rows in report.table_rows.items():
        table.add_row(f"rows of {view}, offline", f"{rows:,}")
    for view, keys in report.online_keys.items():
        table.add_row(f"keys of {view}, online", f"{keys:,}")
    console.print(table)
    console.print(f"The stream goes on after {report.watermark:%Y-%m-%d %H:%M:%S} UTC.")


REBUILD = Command("rebuild", "make features anew", _run, _add_arguments)
