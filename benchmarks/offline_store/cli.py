"""The command line of the benchmark of the offline store."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.command import conclude, run_command
from benchmarks.measure import Limits
from benchmarks.offline_store.benchmark import Plan, Result, run_benchmark
from benchmarks.offline_store.contenders import CONTENDERS
from benchmarks.offline_store.summary import ratios, table
from benchmarks.report import machine_memory, publish, ratio_line

LIBRARIES = (
    "polars",
    "deltalake",
    "pyarrow",
    "pandas",
    "feast",
    "ibis-framework",
    "duckdb",
    "dask",
)
SIZES = [20_000, 200_000, 1_000_000]
RESULTS = Path(__file__).parents[1] / "results" / "offline_store.json"
NOTES = """\
ready: libraries loaded, tables opened, one join over 100 rows. cold: the first join after that.
warm: the median of the next ones (how many). Files are in the page cache for all. peak: resident
memory of the process in the cold join; above held: beyond what it held before. wrong: label rows
that did not come back exactly once with the right features, lost ones included.
Aims at 200,000 rows: time <= 2, memory <= 1.5, duckdb_speedup >= 50."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code: 0, or 1 when something broke that may not."""
    options = _parser().parse_args(arguments)
    plan = Plan(
        sizes=sorted(options.sizes),
        contenders=options.contenders,
        repeats=options.repeats,
        seed=options.seed,
        skew=options.skew,
        limits=Limits(options.time_limit, int(options.memory_limit * 2**30)),
    )
    return run_command(
        "bench-offline-store",
        lambda folder, report: _publish(plan, run_benchmark(plan, folder, report), options.output),
    )


def _publish(plan: Plan, results: list[Result], output: Path) -> int:
    values = ratios(results)
    found = {
        "plan": asdict(plan),
        "results": [result.as_dict() for result in results],
        "ratios": values,
    }
    where = publish(output, "offline-store", LIBRARIES, found)
    broken = [
        f"{result.rows:,} rows, {result.contender.title}: {result.unexpected}"
        for result in results
        if result.unexpected
    ]
    return conclude([where, table(results), NOTES], broken, ratio_line(values))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.offline_store",
        description="The point-in-time join of label rows with two feature views: this store,"
        " Feast's DuckDB and Dask stores, and bare Polars; same files, each in a fresh process.",
        epilog="Feast's stores join each label row with all earlier rows of its key: their time and"
        " memory follow the square of how often a key stands. The default skew is steep, but less"
        " so than Zipf's law (1), under which they pass any limit.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="label rows")
    parser.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="who runs"
    )
    parser.add_argument("--repeats", type=int, default=9, help="warm joins at most")
    parser.add_argument("--skew", type=float, default=0.8, help="exponent of the keys' power law")
    parser.add_argument("--seed", type=int, default=7, help="of the tables")
    parser.add_argument(
        "--time-limit", type=float, default=300.0, help="seconds for one process, all its joins"
    )
    parser.add_argument(
        "--memory-limit",
        type=float,
        default=round(0.6 * machine_memory() / 2**30, 1),
        help="GiB for one process",
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="results as JSON")
    return parser
