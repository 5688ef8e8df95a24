"""The objective: what parameters come to, on rows held back from those that are trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.errors import TaskError
from shared.task import Task, Training
from training_pipeline.encoder import load_tokenizer
from training_pipeline.fit import Checkpoints, Execution, fit, processes_of
from training_pipeline.progress import TrainingProgress
from training_pipeline.rows import Rows
from training_pipeline.stop import StopRequest
from training_pipeline.tune.trials import Measured, Parameters, measure


@dataclass(frozen=True)
class Objective:
    """Fits a model with a trial's parameters and measures it.

    It is given the training part alone: rows held out for the gate never decide a setting.
    """

    task: Task
    train: Rows
    base: Path
    """The resolved folder of the base encoder."""

    def __call__(
        self,
        parameters: Parameters,
        *,
        epoch_ended: Callable[[int, Measured], None],
        checkpoints: Checkpoints,
        progress: TrainingProgress,
        stop: StopRequest,
    ) -> Measured:
        """Fit and measure.

        Args:
            parameters: take the place of the task's.
            epoch_ended: hears how good the model is after each epoch; may raise to give up.
            checkpoints: where the fit is saved, and goes on from.
            progress: hears of every step.
            stop: hears of signals.

        Raises:
            TaskError: the fit does not come to an end with these parameters.
            StateError: the disk, or what hears of epochs, does not allow to go on.
            KeyboardInterrupt: asked to stop; what was learned is saved.
        """
        task = with_parameters(self.task, parameters)
        with processes_of({}) as processes:
            fitted = fit(
                self.train,
                task,
                base=self.base,
                tokenizer=load_tokenizer(self.base, task.training.max_length),
                progress=progress,
                execution=Execution(
                    processes,
                    checkpoints,
                    stop,
                    lambda epoch, seen: epoch_ended(epoch, measure(seen, task.labels)),
                ),
            )
        measured = measure(fitted.validated, task.labels)
        if not measured.finite:
            raise TaskError(
                "training with these parameters",
                expected="a validation loss",
                found="weights that left all numbers",
            )
        return measured

    def epochs(self, parameters: Parameters) -> int:
        """Return how many epochs a trial has."""
        return with_parameters(self.task, parameters).training.epochs


def with_parameters(task: Task, parameters: Parameters) -> Task:
    """Return a task with other fields of its training section."""
    training = Training.model_validate({**task.training.model_dump(), **parameters})
    return task.model_copy(update={"training": training})
