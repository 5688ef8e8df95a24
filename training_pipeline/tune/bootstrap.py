"""The composition root of the search: which parts it has, and where they keep their state."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import TaskError
from shared.file_lock import hold_file
from shared.manifest import sha256_of
from shared.model_registry import tracking_uri
from shared.task import Task
from training_pipeline.bootstrap import training_pipeline
from training_pipeline.encoder import resolve_base
from training_pipeline.fit import Checkpoints
from training_pipeline.settings import TrainingSettings
from training_pipeline.split import split
from training_pipeline.tune.objective import Objective
from training_pipeline.tune.search import Search
from training_pipeline.tune.study import Study
from training_pipeline.tune.tracking import SearchTracking

_LOCK = "in-use.lock"


@contextmanager
def open_search(settings: TrainingSettings, task: Task, *, fresh: bool) -> Iterator[Search]:
    """Give the search of a task: one begun before goes on, unless it is to begin anew.

    Raises:
        FtiError: the task holds no rows back, the data or MLflow cannot be read, another process
            searches already, or an earlier search was of other rows or settings.
    """
    if task.training.validation_share == 0:
        raise TaskError(
            "task file, training.validation_share",
            expected="above 0: a search is judged by the rows that are held back",
            found="0",
        )
    folder = settings.training_home / "search" / task.name
    folder.mkdir(parents=True, exist_ok=True)
    in_use = hold_file(
        folder / _LOCK,
        place=f"search of {task.name} in FTI_HOME {settings.home}",
        remedy="It runs there already: wait for it to end.",
    )
    with in_use:
        places = settings.places
        pipeline = training_pipeline(settings)
        tracking = SearchTracking(tracking_uri(places), places.mlflow_artifacts, task.name)
        study = _study(folder, task)
        tracking.close_abandoned(study.uid)
        if fresh:
            _clear(folder)
            study = _study(folder, task)
        base = resolve_base(task.training.base)
        dataset = pipeline.source.read(task)
        study.check(_fingerprint(task, dataset.sha256, base))
        yield Search(
            objective=Objective(task, split(dataset.rows, task.training, task.labels).train, base),
            study=study,
            tracking=tracking,
            checkpoints=lambda number: Checkpoints(
                folder / f"trial-{number:05}",
                every_seconds=settings.training_checkpoint_seconds,
                every_steps=settings.training_checkpoint_steps,
                supersede=True,
            ),
            dataset_sha256=dataset.sha256,
        )


def _study(folder: Path, task: Task) -> Study:
    training = task.training
    return Study(folder / "study.db", task.name, training.search, seed=training.seed)


def _clear(folder: Path) -> None:
    """Remove all that an earlier search left, but for the lock that is held."""
    for place in folder.iterdir():
        if place.is_dir():
            shutil.rmtree(place)
        elif place.name != _LOCK:
            place.unlink()


def _fingerprint(task: Task, dataset_sha256: str, base: Path) -> dict[str, str]:
    """Return what decides a trial's value, by name."""
    training = task.training.model_dump(mode="json", exclude={"gate", "preset", "base"})
    weights = [sha256_of(file) for file in sorted(base.glob("*.safetensors"))]
    return {
        **{f"training.{name}": str(value) for name, value in training.items()},
        "labels": ", ".join(task.labels),
        "rows": dataset_sha256,
        "base encoder": ", ".join(weights),
    }
