"""Progress: how far a training run is, told to a person or to a parent process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from shared.errors import FtiError
from training_pipeline.problem import Problem

# Stage and its rough share of the time, in order.
STAGES: dict[str, float] = {
    "load": 0.08,
    "split": 0.01,
    "baseline": 0.03,
    "fit": 0.68,
    "export": 0.08,
    "evaluate": 0.08,
    "gate": 0.01,
    "register": 0.03,
}
WAIT = "wait"
"""Before all stages, if an earlier process of the run has not ended yet."""


class TrainingProgress(Protocol):
    """Hears of stages and of steps inside them."""

    def stage(self, name: str) -> None:
        """Say that a stage of STAGES begins, or WAIT."""

    def step(self, done: int, total: int, **figures: float) -> None:
        """Say that ``done`` of ``total`` steps of the stage are done, with figures like loss."""


def overall(stage: str, fraction: float) -> float:
    """Return how much of a whole run is done, 0 to 1, when this much of a stage is.

    >>> overall("load", 0.0), round(overall("register", 1.0), 6)
    (0.0, 1.0)
    """
    if stage == WAIT:
        return 0.0
    names = list(STAGES)
    before = sum(STAGES[name] for name in names[: names.index(stage)])
    return before + STAGES[stage] * fraction


class Silent:
    """Tells nobody."""

    def stage(self, name: str) -> None:
        """Say nothing."""

    def step(self, done: int, total: int, **figures: float) -> None:
        """Say nothing."""


class JsonLines:
    """Writes one JSON object a line: stage, progress of the whole run, figures.

    A parent that has died closes the pipe, and the next line raises BrokenPipeError: so a run
    that nobody waits for ends before it registers anything.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stage = next(iter(STAGES))

    def stage(self, name: str) -> None:
        """Write that a stage begins."""
        self._stage = name
        self._progress(0.0, {})

    def step(self, done: int, total: int, **figures: float) -> None:
        """Write how far the stage is."""
        self._progress(done / max(total, 1), {"step": done, "steps": total, **figures})

    def failed(self, error: FtiError) -> None:
        """Write why the run ends, and whether that may pass."""
        self._write({"error": Problem.of(error).model_dump(), "passing": error.passing})

    def _progress(self, fraction: float, figures: Mapping[str, float]) -> None:
        done = round(overall(self._stage, fraction), 4)
        self._write({"stage": self._stage, "progress": done, **figures})

    def _write(self, line: Mapping[str, object]) -> None:
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()


class LiveBars:
    """Bars on a terminal, for as long as the context lasts; without a terminal nothing is shown."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}% {task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()


class Terminal(LiveBars):
    """Shows stages, and a bar for those with steps. Without a terminal: a line per stage."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar: TaskID | None = None
        self._stage = ""

    def stage(self, name: str) -> None:
        """Show that a stage begins."""
        self._stage = name
        if self._console.is_terminal:
            self._finish_bar()
            self._bar = self._bars.add_task(name, total=None, figures="")
        else:
            self._console.print(f"{name} …")

    def step(self, done: int, total: int, **figures: float) -> None:
        """Move the bar of the stage."""
        if self._bar is not None:
            told = " ".join(f"{name} {value:.3f}" for name, value in figures.items())
            self._bars.update(self._bar, completed=done, total=total, figures=told)

    def _finish_bar(self) -> None:
        if self._bar is not None:
            self._bars.update(self._bar, completed=1, total=1)
