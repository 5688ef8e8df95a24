"""The command line of the benchmark of training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.command import Report, conclude, run_command
from benchmarks.measure import Limits
from benchmarks.report import machine_memory, publish, ratio_line
from benchmarks.training.benchmark import Found, Plan, run_benchmark
from benchmarks.training.summary import ratios, tables
from demo.sample import sample_file

LIBRARIES = ("torch", "transformers", "accelerate", "numpy")
RESULTS = Path(__file__).parents[1] / "results" / "training.json"
TASK = Path(__file__).parents[2] / "tasks" / "brand_mentions.toml"
NOTES = """\
tokens/s: of texts, padding not counted, after the first five steps. padding: share of what was
computed. Trainer learns from the same rows, with the same model, fused AdamW, rates and batch size,
shuffled its own way. Aims: of_trainer >= 1.3, first_step_s <= 5."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code: 0, or 1 when something broke that may not."""
    options = _parser().parse_args(arguments)

    def work(folder: Path, report: Report) -> int:
        plan = Plan(
            task=options.task.resolve(),
            history=(options.history or sample_file()).resolve(),
            rows=options.rows,
            epochs=options.epochs,
            repeats=options.repeats,
            first_steps=options.first_steps,
            limits=Limits(options.time_limit, int(0.8 * machine_memory())),
        )
        return _publish(plan, run_benchmark(plan, folder, report), options.output)

    return run_command("bench-training", work)


def _publish(plan: Plan, found: Found, output: Path) -> int:
    values = ratios(found)
    # Names alone: where the files lie on this machine tells nobody anything.
    planned = {**asdict(plan), "task": plan.task.name, "history": plan.history.name}
    told = {"plan": planned, "results": asdict(found), "ratios": values}
    where = publish(output, "training", LIBRARIES, told)
    broken = [
        f"{trial.contender}, {trial.precision}: {trial.outcome}"
        for trial in found.trials
        if trial.outcome != "done"
    ]
    return conclude([where, *tables(found), NOTES], broken, ratio_line(values))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description="The training loop beside another trainer, and the time to a first step.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--task", type=Path, default=TASK, help="task file: encoder and settings")
    parser.add_argument("--history", type=Path, help="its texts (default: the sample's)")
    parser.add_argument("--rows", type=int, default=1_280, help="texts learned from")
    parser.add_argument("--epochs", type=int, default=1, help="times that each is learned from")
    parser.add_argument("--repeats", type=int, default=3, help="fits of each contender, in turn")
    parser.add_argument(
        "--first-steps", type=int, default=3, help="requests timed until their first step"
    )
    parser.add_argument("--time-limit", type=float, default=600.0, help="seconds of a fit")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the results as JSON")
    return parser
