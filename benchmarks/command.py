"""What the command lines of all benchmarks share: a scratch folder, progress, and how they end."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.errors import BenchmarkError

Report = Callable[[str], None]
"""Hears what goes on."""


def run_command(name: str, work: Callable[[Path, Report], int]) -> int:
    """Run a benchmark in a folder that is removed afterwards; return the exit code.

    Args:
        name: begins the folder's name.
        work: takes the folder and what hears of progress; returns the exit code. Its
            BenchmarkError is told, and ends the command with 1.
    """
    begin = time.monotonic()

    def report(text: str) -> None:
        print(f"[{time.monotonic() - begin:4.0f} s] {text}", file=sys.stderr, flush=True)  # noqa: T201

    try:
        with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
            return work(Path(folder), report)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command line's answer
        return 1


def conclude(lines: Sequence[str], broken: Sequence[str], last: str) -> int:
    """Print what was found, what broke that may not, and the last line; return the exit code."""
    told = [*lines, *(f"UNEXPECTED {each}" for each in broken), last]
    print(*told, sep="\n")  # noqa: T201 - the command line's answer
    return 1 if broken else 0
