"""What a command is: a name, its arguments, and what it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from shared.duration import parse_duration
from shared.task import parse_moment

_LONGEST = timedelta(days=36_500)
"""Nothing is older; moments further back than the year 1 do not exist."""


def no_arguments(_: argparse.ArgumentParser) -> None:
    """Add nothing to a command's parser."""


@dataclass(frozen=True)
class Command:
    """One command of the feature pipeline's command line.

    Attributes:
        run: does it; raises ``FtiError`` for what people can mend, which ends in exit code 1.
        add_arguments: adds its arguments to its parser.
    """

    name: str
    help: str
    run: Callable[[FeaturePipeline, argparse.Namespace], None]
    add_arguments: Callable[[argparse.ArgumentParser], None] = no_arguments


def count(text: str) -> int:
    """Return an argument that is a whole number, not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return int(text)


def duration(text: str) -> timedelta:
    """Return an argument that is a duration, such as ``90d``; a hundred years at most."""
    try:
        return min(parse_duration(text), _LONGEST)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def moment(text: str) -> datetime:
    """Return an argument that is a moment, such as ``2026-03-01T12:00:00Z``."""
    try:
        return parse_moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
