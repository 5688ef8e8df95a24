"""The command line of the feature pipeline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.commands.consistency import CONSISTENCY
from feature_pipeline.commands.feast_repository import APPLY, FEAST_REPOSITORY
from feature_pipeline.commands.history import BACKFILL
from feature_pipeline.commands.maintenance import MAINTAIN
from feature_pipeline.commands.quality import QUALITY
from feature_pipeline.commands.rebuild import REBUILD
from feature_pipeline.commands.rejected import DEAD_LETTERS
from feature_pipeline.commands.services import SERVE
from feature_pipeline.commands.stream import STREAM
from feature_pipeline.settings import FeatureSettings
from shared.errors import FtiError
from shared.logs import configure_logs
from shared.settings import load_settings

COMMANDS = (
    APPLY,
    BACKFILL,
    SERVE,
    STREAM,
    DEAD_LETTERS,
    QUALITY,
    MAINTAIN,
    CONSISTENCY,
    FEAST_REPOSITORY,
    REBUILD,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 0 done, 1 refused or failed, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings(FeatureSettings)
        if options.task is not None:
            settings = settings.model_copy(update={"task": options.task})
        configure_logs("features", log_format=settings.log_format, level=settings.log_level)
        options.run(FeaturePipeline(settings), options)
    except FtiError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command line's answer
        return 1
    except KeyboardInterrupt:
        print("interrupted; run it again to go on", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m feature_pipeline",
        description="Mentions and labels in, features in Feast out.",
        epilog="Settings come from FTI_* variables; all state lives under FTI_HOME (.fti).",
    )
    task = argparse.ArgumentParser(add_help=False)
    task.add_argument("--task", type=Path, help="task file (default: FTI_TASK)")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.name, parents=[task], help=command.help)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser
