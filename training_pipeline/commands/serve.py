"""``serve``: takes requests to train over HTTP."""

from __future__ import annotations

import argparse

from training_pipeline.commands.command import EXIT_DONE, Command
from training_pipeline.settings import TrainingSettings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train for the task FTI_TASK; listen on FTI_TRAINING_HOST:FTI_TRAINING_PORT."
    )


def _run(_: argparse.Namespace, settings: TrainingSettings) -> int:
    from training_pipeline.service.process import serve

    serve(settings)
    return EXIT_DONE


SERVE = Command("serve", "take requests to train over HTTP", _run, _add_arguments)
