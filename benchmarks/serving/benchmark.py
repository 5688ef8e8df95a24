"""The run: for each model file and kind of text, one trial of all servers."""

from __future__ import annotations

from pathlib import Path

from benchmarks.command import Report
from benchmarks.serving.materials import Materials
from benchmarks.serving.plan import Plan
from benchmarks.serving.recipe import ensure_materials
from benchmarks.serving.result import Result
from benchmarks.serving.trial import Trial


def run_benchmark(plan: Plan, folder: Path, report: Report) -> list[Result]:
    """Run all contenders; ``report`` hears what goes on."""
    materials = Materials(plan.materials or folder / "materials")
    report("making the models, the feature store and the registry")
    ensure_materials(materials, plan.recipe, folder)
    return [
        result
        for variant in plan.variants
        for kind in plan.kinds
        for result in Trial(
            plan, materials, folder, variant=variant, kind=kind, report=report
        ).run()
    ]
