"""What a contender is given, and how fast it was."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.errors import BenchmarkError
from shared.task import Task
from training_pipeline.encoder import TextTokenizer
from training_pipeline.fit.examples import Examples
from training_pipeline.rows import Rows

CONTENDERS = ("this loop", "Trainer", "Trainer, grouped by length")
WARM_STEPS = 5
"""Steps at the start that nobody is measured by: memory is taken, kernels are chosen."""


@dataclass(frozen=True)
class Job:
    """The same for every contender."""

    task: Task
    base: Path
    tokenizer: TextTokenizer
    rows: Rows
    examples: Examples
    """The rows, tokenised."""


@dataclass(frozen=True)
class Speed:
    """What was measured after the steps at the start."""

    steps: int
    seconds: float
    core_seconds: float
    """Time of cores that the process took meanwhile: comparable even where others want them, too,
    as far as it computes with one thread."""
    tokens: int
    """Of texts, padding not counted."""
    padded_tokens: int
    """Padding counted."""
    attended_pairs: int
    """Sum over the batches of rows times their padded length squared: what attention computes."""
    last_loss: float
    """Mean of the losses of the last tenth of the steps, as far as the contender tells them."""


@dataclass
class Stopwatch:
    """Notes when each step ended."""

    ends: list[float] = field(default_factory=list)
    core_ends: list[float] = field(default_factory=list)

    def step_ended(self) -> None:
        """Take the time, when the device has done what it was given."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        self.core_ends.append(time.process_time())

    def speed(self, shapes: Sequence[tuple[int, int, int]], losses: Sequence[float]) -> Speed:
        """Return the speed from the end of the last warm step to the end of the last one.

        Args:
            shapes: of each step, its rows, their padded length, and their tokens.
            losses: the last ones that were told.

        Raises:
            BenchmarkError: there are too few steps, or one is missing.
        """
        if len(self.ends) != len(shapes) or len(shapes) <= WARM_STEPS:
            raise BenchmarkError(
                "training trial",
                expected=f"more than {WARM_STEPS} steps, and the shape of each",
                found=f"{len(self.ends)} steps and {len(shapes)} shapes",
                remedy="Ask for more rows.",
            )
        measured = shapes[WARM_STEPS:]
        last = losses[-max(1, len(losses) // 10) :]
        return Speed(
            steps=len(measured),
            seconds=self.ends[-1] - self.ends[WARM_STEPS - 1],
            core_seconds=self.core_ends[-1] - self.core_ends[WARM_STEPS - 1],
            tokens=sum(tokens for _, _, tokens in measured),
            padded_tokens=sum(rows * length for rows, length, _ in measured),
            attended_pairs=sum(rows * length**2 for rows, length, _ in measured),
            last_loss=sum(last) / len(last),
        )
