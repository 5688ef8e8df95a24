"""An attempt at a training run: it goes on where one that was interrupted has come to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from shared.file_lock import hold_file
from shared.task import load_task
from training_pipeline.progress import TrainingProgress
from training_pipeline.result import TrainResult
from training_pipeline.settings import TrainingSettings
from training_pipeline.stop import StopRequest
from training_pipeline.workspace import workspace


@dataclass(frozen=True)
class Attempt:
    """What is asked for."""

    task_file: Path
    reason: str
    fresh: bool = False
    """Begin anew, whatever an interrupted run has learned."""
    supersede: bool = False
    """Begin anew, rather than refuse, if an interrupted run was of other rows or settings."""

    def run(
        self, settings: TrainingSettings, *, progress: TrainingProgress, stop: StopRequest
    ) -> TrainResult | None:
        """Train; of several processes that torchrun started, the main one registers.

        Args:
            settings: where things are.
            progress: hears of every stage and step, in the main process.
            stop: hears of signals.

        Returns:
            What the run came to; None in a process that is not the main one.

        Raises:
            FtiError: the task, the data, the registry or a checkpoint does not allow it.
            KeyboardInterrupt: asked to stop.
        """
        task = load_task(self.task_file)
        # After the task was read: what comes now takes seconds to import.
        from training_pipeline.bootstrap import fit_checkpoints, training_pipeline
        from training_pipeline.encoder import resolve_base
        from training_pipeline.fit import Execution, assist, processes_of

        with processes_of(os.environ) as processes:
            if not processes.main:
                base = resolve_base(task.training.base)
                assist(task, base=base, execution=Execution(processes, stop=stop))
                return None
            checkpoints = fit_checkpoints(settings, task.name, supersede=self.supersede)
            in_use = hold_file(
                checkpoints.folder / "in-use.lock",
                place=f"training of {task.name} in FTI_HOME {settings.home}",
                remedy="It is trained there already: wait for that run to end.",
            )
            with in_use, workspace(settings.training_home) as folder:
                if self.fresh:
                    checkpoints.clear()
                result = training_pipeline(settings).run(
                    task,
                    folder=folder,
                    progress=progress,
                    reason=self.reason,
                    execution=Execution(processes, checkpoints, stop),
                )
                checkpoints.clear()
                return result
