"""The command line of the soak."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.command import conclude, run_command
from benchmarks.report import publish
from benchmarks.serving.cli import LIBRARIES
from benchmarks.serving.materials import VARIANTS
from benchmarks.serving.recipe import Recipe, recipe_options
from benchmarks.soak.soak import Soaked, SoakPlan, run_soak

RESULTS = Path(__file__).parents[1] / "results" / "soak.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; return the exit code: 0, or 1 when a question failed or memory grew."""
    options = _parser().parse_args(arguments)
    plan = SoakPlan(
        recipe=Recipe.of(options),
        materials=options.materials,
        variant=options.variant,
        minutes=options.minutes,
        connections=options.connections,
        rate=options.rate,
        window_seconds=options.window_seconds,
        swap_seconds=options.swap_seconds,
        outage_every_seconds=options.outage_every_seconds,
        outage_seconds=options.outage_seconds,
    )
    return run_command(
        "soak",
        lambda folder, report: _publish(
            plan, run_soak(plan, folder, report), options.output, highest=options.max_slope
        ),
    )


def _publish(plan: SoakPlan, soaked: Soaked, output: Path, *, highest: float) -> int:
    found = {"plan": plan.as_dict(), "result": asdict(soaked)}
    where = publish(output, "soak", LIBRARIES, found)
    broken = []
    if soaked.failed:
        broken.append(f"{soaked.failed} questions failed")
    if soaked.slope.low > highest:
        broken.append(f"memory grew by more than {highest:g} KiB a minute")
    return conclude([where, _summary(soaked)], broken, _last_line(soaked))


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
        parents=[recipe_options()],
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
    parser.add_argument("--output", type=Path, default=RESULTS, help="results as JSON")
    return parser
