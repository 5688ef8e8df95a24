"""The consistency meter: served features against history."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.bootstrap.upkeep import consistency
from feature_pipeline.commands.command import Command, count, duration
from feature_pipeline.consistency.meter import ConsistencyReport
from shared.errors import StateError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Takes feature vectors as they were served from the prediction log, asks history for the"
        " same moments, and tells for each feature how many values differ."
    )
    parser.add_argument(
        "--since",
        type=duration,
        default=timedelta(days=1),
        metavar="AGE",
        help="of the oldest prediction, such as 1h (default: 24h)",
    )
    parser.add_argument(
        "--limit", type=count, default=10_000, help="of the newest predictions (default: 10000)"
    )
    parser.add_argument(
        "--bound",
        type=duration,
        default=timedelta(seconds=10),
        metavar="TIME",
        help="how long a row may be on its way to the online store: a value that was replaced no"
        " longer before counts as behind, not as a mismatch (default: 10s)",
    )
    parser.add_argument(
        "--max-mismatch",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="of mismatched and missing values above which the exit code is 1 (default: 0)",
    )
    parser.add_argument("--json", action="store_true", help="for programs, on standard output")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, found {text!r}")
    return share


def _run(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    report = consistency(pipeline, now - options.since, now, options.limit, options.bound)
    if options.json:
        print(json.dumps(report.as_dict(), default=datetime.isoformat))  # noqa: T201 - the answer
    else:
        _show(Console(), report)
    if report.mismatch_rate > options.max_mismatch:
        raise _inconsistent(report, options.max_mismatch)


def _show(console: Console, report: ConsistencyReport) -> None:
    title = (
        f"{report.predictions:,} predictions until {report.until:%Y-%m-%d %H:%M:%S} UTC,"
        f" {report.compared:,} values compared"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("feature")
    for name in ("equal", "behind", "max lag", "missing", "mismatched", "rate"):
        table.add_column(name, justify="right")
    for feature in report.features:
        table.add_row(
            feature.feature,
            f"{feature.equal:,}",
            f"{feature.behind:,}",
            f"{feature.max_lag_seconds:.2f} s" if feature.behind else "",
            f"{feature.missing:,}",
            f"{feature.mismatched:,}",
            f"{feature.mismatch_rate:.2%}",
        )
    console.print(table)
    if report.unavailable:
        console.print(f"{report.unavailable:,} reads that the store did not answer are left out")
    for feature in report.features:
        for example in feature.examples:
            console.print(
                f"{feature.feature} of {example.entity!r}: served {example.served}, history has"
                f" {example.expected}; prediction {example.prediction_id},"
                f" {example.answered_at.isoformat()}",
                markup=False,
            )


def _inconsistent(report: ConsistencyReport, allowed: float) -> StateError:
    worst = max(report.features, key=lambda feature: feature.mismatch_rate)
    return StateError(
        "served features",
        expected=f"at most {allowed:.2%} that history does not have",
        found=f"{report.mismatch_rate:.2%}, of {worst.feature} {worst.mismatch_rate:.2%}",
        remedy="Compare the examples with the offline table; `rebuild` writes the online side"
        " anew.",
    )


CONSISTENCY = Command("consistency", "compare served features with history", _run, _add_arguments)
