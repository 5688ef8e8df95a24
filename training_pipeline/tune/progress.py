"""Progress of a search: a bar of its trials with the best value so far, and one of the trial."""

from __future__ import annotations

from rich.console import Console
from rich.progress import TaskID

from training_pipeline.progress import LiveBars
from training_pipeline.tune.trials import Parameters, Trial


class SearchProgress(LiveBars):
    """Shows a search to a person. Without a terminal: a line for each trial."""

    def __init__(self, console: Console, *, trials: int, objective: str) -> None:
        """Begin with nothing done.

        Args:
            console: where it is shown.
            trials: how many there will be.
            objective: what the search goes by.
        """
        super().__init__(console)
        self._total = trials
        self._objective = objective
        self._search: TaskID | None = None
        self._trial: TaskID | None = None

    def search(self, ended: int, best: Trial | None) -> None:
        """Show how many trials have ended, and the best of them."""
        told = (
            "" if best is None else f"best {self._objective} {best.value:.4f}, trial {best.number}"
        )
        if self._search is None:
            self._search = self._bars.add_task("search", total=self._total, figures=told)
        self._bars.update(self._search, completed=ended, figures=told)

    def begin(self, number: int, parameters: Parameters) -> None:
        """Show that a trial begins."""
        told = ", ".join(f"{name} {_short(value)}" for name, value in parameters.items())
        self._console.print(f"trial {number}: {told}", soft_wrap=True)
        if self._trial is None:
            self._trial = self._bars.add_task("trial", total=None, figures="")
        self._bars.reset(self._trial, description=f"trial {number}", figures="")

    def end(self, trial: Trial) -> None:
        """Show what came of a trial."""
        value = "" if trial.value is None else f", {self._objective} {trial.value:.4f}"
        reason = f": {trial.reason}" if trial.reason else ""
        self._console.print(f"trial {trial.number} {trial.outcome}{value}{reason}", soft_wrap=True)

    def stage(self, name: str) -> None:
        """Say nothing: a trial is a fit and no more."""

    def step(self, done: int, total: int, **figures: float) -> None:
        """Move the bar of the trial."""
        if self._trial is not None:
            told = " ".join(f"{name} {value:.3f}" for name, value in figures.items())
            self._bars.update(self._trial, completed=done, total=total, figures=told)


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
