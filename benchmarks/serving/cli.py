"""The command line of the benchmark of serving."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import conclude, run_command
from benchmarks.report import publish, ratio_line
from benchmarks.serving.benchmark import run_benchmark
from benchmarks.serving.contenders import CONTENDERS
from benchmarks.serving.materials import VARIANTS
from benchmarks.serving.plan import LOOPS, Plan
from benchmarks.serving.recipe import Recipe, recipe_options
from benchmarks.serving.result import Result
from benchmarks.serving.summary import ratios, table
from benchmarks.serving.texts import KINDS
from shared.settings import PREFIX

LIBRARIES = ("onnxruntime", "tokenizers", "numpy", "fastapi", "uvicorn", "pydantic", "feast")
RESULTS = Path(__file__).parents[1] / "results" / "serving.json"
NOTES = """\
closed: each connection asks again as soon as it has its answer. open: questions come by Poisson's
law at a share of the ceiling; latency counts from when a question was due, so that a server which
stalls cannot hide the questions that waited. bare: tokenisation and onnxruntime in loops without
a server, measured just before and after each contender over the same texts in the same order;
"of ceiling" is over the best of the three, the mean of the two moments; "of peer" is that over the
best peer's under the same load. The ratio includes HTTP
and the load generator, which shares the cores with the server, while the bare loops have them for
themselves: `generator` is its share of all cores. wrong: another label than the bare model's for
the same text alone. degraded: without features. server cores: CPU time of all processes of the
server, over time. memory: of all of them, at the end, shared pages counted in each.
Aims: ceiling >= 0.9, best_peer > 1, join_cost <= 0.1, added_p50_ms <= 1.5."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code: 0, or 1 when something broke that may not."""
    options = _parser().parse_args(arguments)
    plan = Plan(
        recipe=Recipe.of(options),
        materials=options.materials,
        variants=options.variants,
        kinds=options.texts,
        connections=sorted(options.connections),
        loops=options.loops,
        contenders=options.contenders,
        seconds=options.seconds,
        open_share=options.open_share,
        settings=dict(options.settings),
    )
    return run_command(
        "bench-serving",
        lambda folder, report: _publish(plan, run_benchmark(plan, folder, report), options.output),
    )


def _publish(plan: Plan, results: list[Result], output: Path) -> int:
    values = ratios(results)
    found = {
        "plan": plan.as_dict(),
        "results": [result.as_dict() for result in results],
        "ratios": values,
    }
    where = publish(output, "serving", LIBRARIES, found)
    broken = [
        f"{one.variant}, {one.kind} texts, {one.contender.title}: {one.unexpected}"
        for one in results
        if one.unexpected
    ]
    return conclude([where, table(results), NOTES], broken, ratio_line(values))


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name.startswith(PREFIX) and equals):
        raise argparse.ArgumentTypeError(f"expected {PREFIX}NAME=VALUE, found {text!r}")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description="This server beside bare onnxruntime loops, FastAPI + onnxruntime, LitServe"
        " and BentoML: same model file, same texts, each in fresh processes.",
        parents=[recipe_options()],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--texts", nargs="+", choices=KINDS, default=list(KINDS), help="kinds")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32, 128])
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=list(LOOPS))
    parser.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="who runs"
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument(
        "--open-share", type=float, default=0.6, help="arrivals of open loops, of the ceiling"
    )
    parser.add_argument(
        "--settings",
        nargs="+",
        type=_setting,
        default=[],
        metavar="NAME=VALUE",
        help="of this server, where not its defaults",
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="results as JSON")
    return parser
