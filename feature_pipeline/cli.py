"""The command line of the feature pipeline."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from feature_pipeline.batch.backfill import BackfillReport
from feature_pipeline.bootstrap import FeaturePipeline
from feature_pipeline.progress import RichProgress
from feature_pipeline.settings import FeatureSettings
from shared.errors import FtiError
from shared.logs import configure_logs
from shared.settings import load_settings
from shared.task import parse_moment


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 0 done, 1 refused or failed, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings(FeatureSettings)
        if options.task is not None:
            settings = settings.model_copy(update={"task": options.task})
        configure_logs("features", log_format=settings.log_format, level=settings.log_level)
        _COMMANDS[options.command](FeaturePipeline(settings), options)
    except FtiError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command line's answer
        return 1
    except KeyboardInterrupt:
        print("interrupted; run it again to go on", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _backfill(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    console = Console(stderr=True)
    now = options.now or datetime.now(UTC)
    report = pipeline.backfill(options.input, now, RichProgress(console), options.hold_back)
    _show(console, pipeline, report)


def _serve(pipeline: FeaturePipeline, _: argparse.Namespace) -> None:
    # Uvicorn drains on these and then raises them again; both are how it is meant to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(KeyboardInterrupt):
        pipeline.serve()


def _stream(pipeline: FeaturePipeline, _: argparse.Namespace) -> None:
    pipeline.stream()


def _dead_letters(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    with closing(pipeline.open_dead_letters()) as dead_letters:
        letters, count = dead_letters.read(options.limit), dead_letters.count()
    console = Console()
    for letter in letters:
        console.print(f"{letter.received_at:%Y-%m-%d %H:%M:%S} {letter.origin}", style="bold")
        console.print(f"  {letter.reason}", markup=False)
        console.print(f"  {letter.raw[:200]!r}", markup=False, style="dim")
    console.print(f"{len(letters)} of {count} dead letters")


_COMMANDS = {
    "backfill": _backfill,
    "serve": _serve,
    "stream": _stream,
    "dead-letters": _dead_letters,
}


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m feature_pipeline",
        description="Mentions and labels in, features in Feast out.",
        epilog="Settings come from FTI_* variables; all state lives under FTI_HOME (.fti).",
    )
    task = argparse.ArgumentParser(add_help=False)
    task.add_argument("--task", type=Path, help="task file (default: FTI_TASK)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    backfill = commands.add_parser("backfill", parents=[task], help="load a file of history")
    backfill.add_argument("--input", type=Path, required=True, help="the file")
    backfill.add_argument(
        "--now", type=_moment, help="the moment by which all of it is known (default: now)"
    )
    backfill.add_argument(
        "--hold-back",
        type=_count,
        default=0,
        metavar="N",
        help="leave out the newest N mentions, to post them as events later",
    )
    commands.add_parser("serve", parents=[task], help="take mentions and labels over HTTP")
    commands.add_parser("stream", parents=[task], help="turn posted events into features")
    letters = commands.add_parser("dead-letters", parents=[task], help="show what was rejected")
    letters.add_argument("--limit", type=_count, default=20, help="how many (default: 20)")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return int(text)


def _moment(text: str) -> datetime:
    try:
        return parse_moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
