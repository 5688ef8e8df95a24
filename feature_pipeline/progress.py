"""Progress of long steps, on a terminal as bars and elsewhere as lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars


class Progress(Protocol):
    """Shows how far a long step is."""

    def step(
        self, name: str, total: int | None = None
    ) -> AbstractContextManager[Callable[[int], object]]:
        """Show a step while the context lasts; the function given tells of units done."""
        ...


class NoProgress:
    """Shows nothing."""

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Callable[[int], object]]:
        """See ``Progress``."""
        del name, total
        yield lambda _: None


class RichProgress:
    """Shows steps on a console; one line per finished step where it is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Callable[[int], object]]:
        """Show a step while the context lasts; the function given tells of units done."""
        counted = [MofNCompleteColumn()] if total else []
        columns = [
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(),
            *counted,
            TimeElapsedColumn(),
        ]
        with Bars(*columns, console=self._console) as bar:
            task = bar.add_task(name, total=total)
            yield lambda units: bar.advance(task, units)
            bar.update(task, total=total or 1, completed=total or 1)
