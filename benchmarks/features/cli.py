"""The command line of the benchmark of the feature pipeline."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.command import conclude, run_command
from benchmarks.features.benchmark import Found, Plan, run_benchmark
from benchmarks.features.summary import ratios, tables
from benchmarks.measure import Limits
from benchmarks.report import machine_memory, publish, ratio_line

LIBRARIES = ("polars", "deltalake", "bytewax", "feast", "redis")
SIZES = [100_000, 1_000_000, 10_000_000]
RESULTS = Path(__file__).parents[1] / "results" / "features.json"
NOTES = """\
read: the file into tables of events. arithmetic: the rows of both activity views, in memory. delta:
the same, written to Delta. texts: the rows of mentions and labels, texts normalised. command: the
whole backfill, from the file into both sides of the store.
Aims: delta >= 200,000/s, stream >= 10,000/s, p99 < 500 ms."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code: 0, or 1 when something broke that may not."""
    options = _parser().parse_args(arguments)
    plan = Plan(
        sizes=sorted(options.sizes),
        backlog=options.backlog,
        rate=options.rate,
        seconds=options.seconds,
        limits=Limits(options.time_limit, int(options.memory_limit * 2**30)),
    )
    return run_command(
        "bench-features",
        lambda folder, report: _publish(plan, run_benchmark(plan, folder, report), options.output),
    )


def _publish(plan: Plan, found: Found, output: Path) -> int:
    values = ratios(found)
    told = {"plan": asdict(plan), "results": asdict(found), "ratios": values}
    where = publish(output, "features", LIBRARIES, told)
    broken = [
        f"{step.mentions:,} mentions, {step.name}: {step.outcome}"
        for step in found.steps
        if step.outcome != "done" and "limit" not in step.outcome
    ]
    return conclude([where, *tables(found), NOTES], broken, ratio_line(values))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.features",
        description="What the feature pipeline carries, beside the parts that it stands on.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="of the backfills")
    parser.add_argument("--backlog", type=int, default=100_000, help="mentions for the worker")
    parser.add_argument("--rate", type=int, default=1_000, help="mentions posted a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long they are posted")
    parser.add_argument("--time-limit", type=float, default=600.0, help="seconds of a backfill")
    parser.add_argument(
        "--memory-limit",
        type=float,
        default=round(0.8 * machine_memory() / 2**30, 1),
        help="GiB of a backfill",
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="the results as JSON")
    return parser
