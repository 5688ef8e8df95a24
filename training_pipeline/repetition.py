"""A repetition: a registered version is trained again, to see how far that comes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.disk import full_disk_errors
from shared.errors import StateError
from shared.file_lock import hold_file
from shared.task import load_task
from training_pipeline.progress import TrainingProgress
from training_pipeline.settings import TrainingSettings
from training_pipeline.stop import StopRequest

if TYPE_CHECKING:
    from training_pipeline.fit import Processes
    from training_pipeline.registry import PastTraining
    from training_pipeline.reproduction.comparison import Comparison, Difference
    from training_pipeline.reproduction.record import ReproductionRecord

Warn = Callable[[Sequence["Difference"]], None]


@dataclass(frozen=True)
class Repeated:
    """What a repetition came to."""

    model: str
    version: str
    recorded: ReproductionRecord
    now: ReproductionRecord
    comparison: Comparison


@dataclass(frozen=True)
class Repetition:
    """What is asked for. Nothing is registered."""

    task_file: Path
    """Names the model."""
    version: str
    """A number, or an alias."""
    work: Path | None = None
    """For checkpoints and the exported file, which stays; by default a folder that goes."""

    def run(
        self,
        settings: TrainingSettings,
        *,
        progress: TrainingProgress,
        stop: StopRequest,
        warn: Warn,
    ) -> Repeated | None:
        """Train as recorded; of several processes that torchrun started, the main one tells.

        Args:
            settings: where things are.
            progress: hears of every stage and step, in the main process.
            stop: hears of signals.
            warn: hears, before training, how the environment differs from the recorded one.

        Returns:
            How far it came; None in a process that is not the main one.

        Raises:
            StateError: there is no such version, its record is of another format, its tables are
                gone, or its task has another shape.
            FtiError: the base encoder, a checkpoint or the disk does not allow it.
            KeyboardInterrupt: asked to stop; the same repetition goes on from its checkpoint.
        """
        name = load_task(self.task_file).name
        from training_pipeline.bootstrap import model_registry
        from training_pipeline.encoder import resolve_base
        from training_pipeline.fit import Execution, assist, processes_of
        from training_pipeline.reproduction.record import read_record
        from training_pipeline.reproduction.rerun import recorded_task

        with processes_of(os.environ) as processes:
            past = model_registry(settings).past_training(name, self.version)
            place = f"reproduction record of {name}, version {past.version}"
            recorded = read_record(past.record, place)
            task = recorded_task(recorded, place)
            if not processes.main:
                base = resolve_base(task.training.base)
                assist(task, base=base, execution=Execution(processes, stop=stop))
                return None
            default = settings.training_home / "reproductions" / f"{name}-{past.version}"
            work = self.work or default
            with full_disk_errors(f"disk of {work}"), _alone(work, stays=self.work is not None):
                now = _again(
                    settings,
                    past,
                    recorded,
                    work=work,
                    processes=processes,
                    progress=progress,
                    stop=stop,
                    warn=warn,
                )
            return Repeated(name, past.version, recorded, *now)


def _again(
    settings: TrainingSettings,
    past: PastTraining,
    recorded: ReproductionRecord,
    *,
    work: Path,
    processes: Processes,
    progress: TrainingProgress,
    stop: StopRequest,
    warn: Warn,
) -> tuple[ReproductionRecord, Comparison]:
    from training_pipeline.bootstrap import dataset_source, fit_checkpoints
    from training_pipeline.fit import Execution
    from training_pipeline.reproduction.code import code_state
    from training_pipeline.reproduction.comparison import compare, environment_differences
    from training_pipeline.reproduction.environment import present_environment
    from training_pipeline.reproduction.rerun import recorded_task, rerun

    code = code_state(settings.training_commit)
    warn(environment_differences(recorded.environment, present_environment(code.code, processes)))
    files = work / "files"
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir(parents=True)
    # What another repetition left there is given up.
    checkpoints = fit_checkpoints(settings, work / "checkpoints", supersede=True)
    done = rerun(
        recorded_task(recorded, "reproduction record"),
        dataset_source(settings, recorded.dataset.versions),
        folder=files,
        progress=progress,
        execution=Execution(processes, checkpoints, stop),
        code=code,
    )
    checkpoints.clear()
    return done.record, compare(recorded, done.record, past.losses, done.losses)


@contextmanager
def _alone(work: Path, *, stays: bool) -> Iterator[None]:
    """Hold a folder; at a good end it goes, unless it stays."""
    remedy = "Wait for that repetition to end, or give --work another folder."
    lock = work / "in-use.lock"
    if work.exists() and not lock.exists() and (not work.is_dir() or any(work.iterdir())):
        raise StateError(
            f"--work {work}",
            expected="an empty folder, or one of an earlier repetition",
            found="other files" if work.is_dir() else "a file",
            remedy="Name a folder that is not there yet.",
        )
    with hold_file(lock, place=f"folder {work}", remedy=remedy):
        yield
        if not stays:
            shutil.rmtree(work)
