"""The command line of the training pipeline."""

from __future__ import annotations

import argparse
import logging
import sys

from shared.errors import FtiError
from shared.logs import configure_logs
from shared.settings import load_settings
from training_pipeline.commands.beat import BEAT
from training_pipeline.commands.clean_registry import CLEAN_REGISTRY
from training_pipeline.commands.register import REGISTER
from training_pipeline.commands.reproduce import REPRODUCE
from training_pipeline.commands.serve import SERVE
from training_pipeline.commands.train import TRAIN
from training_pipeline.commands.tune import TUNE
from training_pipeline.commands.work import WORK
from training_pipeline.exit_codes import EXIT_ERROR, EXIT_INTERRUPTED
from training_pipeline.settings import TrainingSettings

COMMANDS = (TRAIN, TUNE, SERVE, WORK, BEAT, REPRODUCE, REGISTER, CLEAN_REGISTRY)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training_pipeline",
        description="Train models of labelled mentions, gate them and register them.",
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.name, help=command.help)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        settings = load_settings(TrainingSettings)
        configure_logs("training", log_format=settings.log_format, level=settings.log_level)
        code: int = options.run(options, settings)
    except FtiError as error:
        _tell(error)
        return EXIT_ERROR
    except KeyboardInterrupt as interruption:
        where = f"{interruption}, which is saved" if interruption.args else "interrupted"
        sys.stderr.write(f"{where}: the same command goes on from what was saved last\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The parent, for whom the progress was, is gone.
        sys.stderr.write("interrupted: nobody reads the progress\n")
        return EXIT_INTERRUPTED
    return code


def _tell(error: FtiError) -> None:
    sys.stderr.write(f"error: {error}\n")
    if error.__cause__ is not None:
        first = str(error.__cause__).partition("\n")[0]
        sys.stderr.write(f"caused by {type(error.__cause__).__name__}: {first}\n")
    # Past structlog, which until it is configured prints tracebacks with the values in them.
    logging.getLogger(__name__).debug("where it came from", exc_info=error)
