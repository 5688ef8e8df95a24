"""What a command is: a name, its arguments, and what it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training_pipeline.settings import TrainingSettings


def no_arguments(_: argparse.ArgumentParser) -> None:
    """Add nothing to a command's parser."""


@dataclass(frozen=True)
class Command:
    """One command of the training pipeline's command line.

    Attributes:
        run: does it and returns the exit code; raises ``FtiError`` for what people can mend, which
            ends in exit code 1, and ``KeyboardInterrupt``, which ends in 130.
        add_arguments: adds its arguments to its parser.
    """

    name: str
    help: str
    run: Callable[[argparse.Namespace, TrainingSettings], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] = no_arguments


def add_task(parser: argparse.ArgumentParser) -> None:
    """Add ``--task``."""
    parser.add_argument(
        "--task", type=Path, metavar="FILE", help="the task's TOML file (default: FTI_TASK)"
    )


def add_progress(parser: argparse.ArgumentParser) -> None:
    """Add ``--progress``."""
    parser.add_argument(
        "--progress",
        choices=("auto", "json"),
        default="auto",
        help="auto: a bar on a terminal; json: one object a line on stdout",
    )
