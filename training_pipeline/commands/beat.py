"""``beat``: asks for the runs that are due."""

from __future__ import annotations

import argparse

from training_pipeline.commands.command import Command
from training_pipeline.settings import TrainingSettings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Ask for a run whenever one of the task's [[training.schedules]] is due. Two of them do no"
        " harm."
    )
    parser.epilog = "exit codes: 0 stopped in order, 1 error, 2 wrong usage"


def _run(_: argparse.Namespace, settings: TrainingSettings) -> int:
    # What comes now takes seconds to import.
    from training_pipeline.service import bootstrap

    return bootstrap.beat(settings)


BEAT = Command("beat", "ask for the runs that the task's schedules say", _run, _add_arguments)
