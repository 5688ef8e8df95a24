"""``work``: executes requested runs."""

from __future__ import annotations

import argparse

from training_pipeline.commands.command import Command
from training_pipeline.settings import TrainingSettings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Execute requested runs until SIGTERM or Ctrl-C. The run at hand is saved then, and another"
        " worker goes on with it."
    )
    parser.epilog = "exit codes: 0 stopped in order, 1 error, 2 wrong usage"
    parser.add_argument(
        "--queues",
        metavar="A,B",
        help="take runs from these queues only (default: FTI_TRAINING_QUEUES, default)",
    )


def _run(options: argparse.Namespace, settings: TrainingSettings) -> int:
    # What comes now takes seconds to import.
    from training_pipeline.service import bootstrap

    return bootstrap.work(settings, bootstrap.queues_of(options.queues, settings))


WORK = Command("work", "execute requested runs, one at a time", _run, _add_arguments)
