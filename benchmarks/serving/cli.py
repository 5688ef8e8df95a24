"""The command line of the benchmark of serving."""

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
from benchmarks.serving.benchmark import Plan, Result, run_benchmark
from benchmarks.serving.contenders import CONTENDERS
from benchmarks.serving.materials import VARIANTS
from benchmarks.serving.summary import ratio_line, ratios, table
from benchmarks.serving.texts import KINDS

LIBRARIES = ("onnxruntime", "tokenizers", "numpy", "fastapi", "uvicorn", "pydantic", "feast")
RESULTS = Path(__file__).parents[1] / "results" / "serving.json"
TASK = Path(__file__).parents[2] / "tasks" / "brand_mentions.toml"
NOTES = """\
closed: each connection asks again as soon as it has its answer. open: questions come by Poisson's
law at a share of the ceiling; latency counts from when a question was due, so that a server which
stalls cannot hide the questions that waited. bare: tokenisation and onnxruntime in loops without
a server, measured just before and after each contender; "of ceiling" is over the mean of the two.
The load generator shares the cores with the server, while the bare loops have them for themselves.
wrong: another label than the bare model's for the same text alone. server cores: CPU time of all
processes of the server, over time. memory: of all of them, at the end.
Aims: ceiling >= 0.9, join >= 0.9, over_p50_ms <= 1.5, best_peer > 1."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code: 0, or 1 when something broke that may not."""
    options = _parser().parse_args(arguments)
    plan = Plan(
        task=str(options.task),
        variants=options.variants,
        kinds=options.texts,
        connections=sorted(options.connections),
        loops=options.loops,
        contenders=options.contenders,
        seconds=options.seconds,
        open_share=options.open_share,
        texts=options.count,
        seed=options.seed,
        max_length=options.max_length,
        materials=options.materials,
    )
    try:
        with tempfile.TemporaryDirectory(prefix="bench-serving-") as folder:
            results = run_benchmark(plan, Path(folder), _progress())
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command line's answer
        return 1
    _publish(plan, results, options.output)
    return 1 if any(result.unexpected for result in results) else 0


def _publish(plan: Plan, results: list[Result], output: Path) -> None:
    where = environment(LIBRARIES)
    values = ratios(results)
    write_results(
        output,
        {
            "benchmark": "serving",
            "environment": where,
            "plan": {**asdict(plan), "task": Path(plan.task).name, "materials": None},
            "results": [result.as_dict() for result in results],
            "ratios": values,
        },
    )
    broken = [
        f"UNEXPECTED {one.variant}, {one.kind} texts, {one.contender.title}: {one.unexpected}"
        for one in results
        if one.unexpected
    ]
    print(  # noqa: T201 - the command line's answer
        describe(where), table(results), NOTES, *broken, ratio_line(values), sep="\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description="This server beside bare onnxruntime loops, FastAPI + onnxruntime, LitServe"
        " and BentoML: same model file, same texts, each in fresh processes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--texts", nargs="+", choices=KINDS, default=list(KINDS), help="kinds")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32, 128])
    parser.add_argument(
        "--loops", nargs="+", choices=("closed", "open"), default=["closed", "open"]
    )
    parser.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="who runs"
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument(
        "--open-share", type=float, default=0.6, help="arrivals of open loops, of the ceiling"
    )
    parser.add_argument("--count", type=int, default=1000, help="different texts of each kind")
    parser.add_argument("--seed", type=int, default=7, help="of texts, features and arrivals")
    parser.add_argument("--max-length", type=int, default=128, help="tokens read of a text")
    parser.add_argument(
        "--task", type=Path, default=TASK, help="task file: base encoder, labels, features"
    )
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
