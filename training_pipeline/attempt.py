"""An attempt at a training run: it goes on where one that was interrupted has come to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.disk import full_disk_errors, write_whole
from shared.file_lock import hold_file
from shared.task import load_task
from training_pipeline.progress import WAIT, TrainingProgress
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
    """Of a requested run, whose files have a place of their own; it may be asked for again."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the task's section ``training`` that are otherwise."""
    result_file: Path | None = None
    """Gets the result, as JSON."""

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
        task = load_task(self.task_file, self.overrides)
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
            place, saved, versions_file = self._files(settings.training_home, task.name)
            checkpoints = fit_checkpoints(settings, saved, supersede=self.supersede)
            in_use = hold_file(
                checkpoints.folder / "in-use.lock",
                place=f"training of {task.name} in FTI_HOME {settings.home}",
                remedy="It is trained there already: wait for that run to end.",
                # A requested run waits for its own former process, which has so long to end.
                wait=0.0 if self.run_id is None else settings.training_grace_seconds,
                waits=lambda: progress.stage(WAIT),
            )
            with full_disk_errors(f"disk of FTI_HOME {settings.home}"), in_use:
                with workspace(place) as folder:
                    if self.fresh:
                        checkpoints.clear()
                        if versions_file is not None:
                            versions_file.unlink(missing_ok=True)
                    try:
                        result = training_pipeline(settings, versions_file=versions_file).run(
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
                if self.result_file is not None:
                    # Before the checkpoints go: who is ended between the two trains nothing again.
                    write_whole(self.result_file, result.model_dump_json(indent=2))
                checkpoints.clear()
                return result

    def _files(self, home: Path, task_name: str) -> tuple[Path, Path, Path | None]:
        """Return where files are made, where checkpoints are saved, where versions are pinned."""
        if self.run_id is None:
            return home, home / "checkpoints" / task_name, None
        place = home / "runs" / self.run_id
        return place, place / "checkpoints", place / "versions.json"
