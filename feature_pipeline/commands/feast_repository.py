"""The task's definitions: applied to the feature store, or written for Feast's own tools."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.bootstrap.upkeep import apply_definitions, feast_repository
from feature_pipeline.commands.command import Command


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes a folder with which Feast's command line and its UI work on the feature store of"
        " the task. Passwords are not written: Feast reads them from variables."
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="the folder (default: feast in FTI_HOME)"
    )


def _run(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    folder = options.output or pipeline.settings.home / "feast"
    variables = feast_repository(pipeline, folder)
    console = Console(stderr=True)
    if variables:
        console.print(f"Set first: {', '.join(variables)}", markup=False)
    console.print("Then, from the folder that holds the packages of the pipelines:")
    for what in ("feature-views list", "plan", "ui --host 127.0.0.1"):
        line = f"  PYTHONPATH=. feast -c {folder} {what}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _apply(pipeline: FeaturePipeline, _: argparse.Namespace) -> None:
    apply_definitions(pipeline)


APPLY = Command("apply", "create or update the task's feature views and empty tables", _apply)
FEAST_REPOSITORY = Command(
    "feast-repository", "write a folder for Feast's own tools", _run, _add_arguments
)
