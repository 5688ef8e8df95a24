"""``serve``: takes requests to train over HTTP."""

from __future__ import annotations

import argparse

from training_pipeline.commands.command import Command
from training_pipeline.settings import TrainingSettings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Take requests for the task FTI_TASK on FTI_TRAINING_HOST:FTI_TRAINING_PORT."
        " Workers execute them."
    )
    parser.epilog = "exit codes: 0 stopped in order, 1 error, 2 wrong usage, 3 could not listen"


def _run(_: argparse.Namespace, settings: TrainingSettings) -> int:
    # What comes now takes seconds to import.
    from training_pipeline.service import bootstrap

    return bootstrap.serve(settings)


SERVE = Command("serve", "take requests to train over HTTP", _run, _add_arguments)
