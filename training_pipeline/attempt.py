"""An attempt at a training run: it goes on where one that was interrupted has come to."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from shared.file_lock import hold_file
from shared.task import load_task
from training_pipeline.disk import full_disk_errors
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
    allow_dirty: bool = False
    """Train from code that differs from its commit, too; so does the setting."""
    run_id: str | None = None
    """Of whoever asks, who may ask for the same run again."""

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
            KeptError: the registry did not take the model, which is kept; or an earlier attempt at
                the same run ended so.
            FtiError: the task, the data, the code, the registry, a checkpoint or the disk does not
                allow it.
            KeyboardInterrupt: asked to stop.
        """
        task = load_task(self.task_file)
        # After the task was read: what comes now takes seconds to import.
        from training_pipeline.bootstrap import fit_checkpoints, kept_results, training_pipeline
        from training_pipeline.encoder import resolve_base
        from training_pipeline.fit import Execution, assist, processes_of
        from training_pipeline.kept import KeptError
        from training_pipeline.reproduction.code import check_clean, code_state

        with processes_of(os.environ) as processes:
            if not processes.main:
                base = resolve_base(task.training.base)
                assist(task, base=base, execution=Execution(processes, stop=stop))
                return None
            code = code_state(settings.training_commit)
            if not (self.allow_dirty or settings.training_allow_dirty):
                check_clean(code)
            kept = kept_results(settings)
            if self.run_id is not None and kept.holds(self.run_id):
                raise KeptError(
                    kept.path(self.run_id), "an earlier attempt of this run, which waits"
                )
            checkpoints = fit_checkpoints(settings, task.name, supersede=self.supersede)
            place = f"disk of FTI_HOME {settings.home}"
            with full_disk_errors(place), _alone(checkpoints.folder, task.name, settings.home):
                with workspace(settings.training_home) as folder:
                    if self.fresh:
                        checkpoints.clear()
                    try:
                        result = training_pipeline(settings).run(
                            task,
                            folder=folder,
                            progress=progress,
                            reason=self.reason,
                            execution=Execution(processes, checkpoints, stop),
                            code=code,
                            run_id=self.run_id,
                        )
                    except KeptError:
                        checkpoints.clear()
                        raise
                checkpoints.clear()
                return result


def _alone(folder: Path, task_name: str, home: Path) -> AbstractContextManager[None]:
    return hold_file(
        folder / "in-use.lock",
        place=f"training of {task_name} in FTI_HOME {home}",
        remedy="It is trained there already: wait for that run to end.",
    )
