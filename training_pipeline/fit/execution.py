"""The execution: what a fit runs on and survives, none of which changes what it comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from training_pipeline.fit.checkpoint import Checkpoints
from training_pipeline.fit.processes import Processes
from training_pipeline.fit.validation import Validated
from training_pipeline.stop import StopRequest


@dataclass(frozen=True)
class Execution:
    """The processes of a fit, where the main one saves checkpoints, and who may stop it."""

    processes: Processes = field(default_factory=Processes)
    checkpoints: Checkpoints | None = None
    """None: nothing is saved. Only the main process has any."""
    stop: StopRequest = field(default_factory=StopRequest)
    epoch_ended: Callable[[int, Validated], None] | None = None
    """Hears, after each epoch (1, 2, …), how the rows held back are answered; an error that it
    raises ends the fit. None: they are not asked for it. For a fit in one process."""
