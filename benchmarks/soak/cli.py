"""The command line of the soak."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.report import describe, environment, write_results
from benchmarks.serving.cli import LIBRARIES, TASK
from benchmarks.serving.materials import VARIANTS
from benchmarks.soak.soak import Soaked, SoakPlan, run_soak

RESULTS = Path(__file__).parents[1] / "results" / "soak.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; return the exit code: 0, or 1 when a question failed or memory grew."""
    options = vars(_parser().parse_args(arguments))
    output = options.pop("output")
    highest = options.pop("max_slope")
    plan = SoakPlan(**options)
    try:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            soaked = run_soak(plan, Path(folder), _progress())
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command line's answer
        return 1
    where = environment(LIBRARIES)
    kept = {**asdict(plan), "task": Path(plan.task).name, "materials": None}
    write_results(
        output, {"benchmark": "soak", "environment": where, "plan": kept, "result": asdict(soaked)}
    )
    grew = soaked.slope.low > highest
    print(describe(where), _summary(soaked), _last_line(soaked), sep="\n")  # noqa: T201
    return 1 if soaked.failed or grew else 0


def _summary(soaked: Soaked) -> str:
    asked = sum(load.asked for load in soaked.loads)
    refused = sum(load.refused for load in soaked.loads)
    wrong = sum(load.wrong for load in soaked.loads)
    worst = max(load.p99_ms for load in soaked.loads)
    return (
        f"{soaked.minutes:.1f} minutes: {asked:,} questions, {soaked.failed} failed,"
        f" {refused:,} refused, {wrong:,} with another label than with all features (outages"
        f" included), worst p99 {worst:.0f} ms\n"
        f"{soaked.swaps} alias moves, {soaked.swapped:.0f} versions put into service;"
        f" {soaked.outages} outages of the online store, {soaked.degraded:.0f} answers without it"
    )


def _last_line(soaked: Soaked) -> str:
    slope = soaked.slope
    return (
        f"SLOPE kib_per_minute={slope.kib_per_minute:.1f} low={slope.low:.1f}"
        f" high={slope.high:.1f} start_mib={soaked.start_bytes / 2**20:.1f}"
        f" end_mib={soaked.end_bytes / 2**20:.1f} failed={soaked.failed}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description="A server under mixed load, with hot swaps and outages of its online store,"
        " and how its memory grows.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--variant", choices=VARIANTS, default="int8")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float, default=100.0, help="questions a second")
    parser.add_argument("--window-seconds", type=float, default=20.0, help="of one turn of load")
    parser.add_argument("--swap-seconds", type=float, default=15.0, help="between alias moves")
    parser.add_argument(
        "--outage-every-seconds", type=float, default=45.0, help="between outages of the store"
    )
    parser.add_argument("--outage-seconds", type=float, default=3.0, help="of each")
    parser.add_argument(
        "--max-slope", type=float, default=0.0, help="KiB a minute that the interval must reach"
    )
    parser.add_argument("--texts", type=int, default=1000, help="different texts of each kind")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--max-length", type=int, default=128, help="tokens read of a text")
    parser.add_argument("--task", type=Path, default=TASK)
    parser.add_argument(
        "--materials", type=Path, help="folder with models and stores: made, and used again"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="results as JSON")
    return parser


def _progress() -> Callable[[str], None]:
    begin = time.monotonic()

    def report(text: str) -> None:
        print(f"[{time.monotonic() - begin:4.0f} s] {text}", file=sys.stderr, flush=True)  # noqa: T201

    return report
