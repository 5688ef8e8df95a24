"""The composition root: the only place that names which store, registry and queue are used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from shared.model_registry import quiet_mlflow, tracking_uri
from shared.settings import PREFIX
from training_pipeline.settings import TrainingSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from training_pipeline.dataset import DatasetSource
    from training_pipeline.fit import Checkpoints
    from training_pipeline.kept import KeptResults
    from training_pipeline.pipeline import TrainingPipeline
    from training_pipeline.registry import MlflowRegistry


def training_pipeline(settings: TrainingSettings) -> TrainingPipeline:
    """Return the pipeline on Feast and MLflow."""
    from training_pipeline.pipeline import TrainingPipeline

    registry = model_registry(settings)
    return TrainingPipeline(dataset_source(settings), registry, kept_results(settings))


def model_registry(settings: TrainingSettings) -> MlflowRegistry:
    """Return the registry in MLflow."""
    quiet_mlflow()
    from training_pipeline.registry import MlflowRegistry

    return MlflowRegistry(tracking_uri(settings.places), settings.places.mlflow_artifacts)


def dataset_source(
    settings: TrainingSettings, versions: Mapping[str, int] | None = None
) -> DatasetSource:
    """Return the feature store, its tables at these versions, by view, or at their latest."""
    from shared.feature_store import open_feature_store
    from training_pipeline.dataset import FeastDataset

    return FeastDataset(open_feature_store(settings.places, versions=versions))


def kept_results(settings: TrainingSettings) -> KeptResults:
    """Return where results are kept that the registry did not take."""
    from training_pipeline.kept import KeptResults

    return KeptResults(settings.training_home / "kept")


def fit_checkpoints(settings: TrainingSettings, task_name: str, *, supersede: bool) -> Checkpoints:
    """Return where the fits of a task are saved: a folder under the home."""
    from training_pipeline.fit import Checkpoints

    return Checkpoints(
        settings.training_home / "checkpoints" / task_name,
        every_seconds=settings.training_checkpoint_seconds,
        every_steps=settings.training_checkpoint_steps,
        supersede=supersede,
    )


def repetition_checkpoints(settings: TrainingSettings, folder: Path) -> Checkpoints:
    """Return where the fit of a repetition is saved. What another one left there is given up."""
    from training_pipeline.fit import Checkpoints

    return Checkpoints(
        folder,
        every_seconds=settings.training_checkpoint_seconds,
        every_steps=settings.training_checkpoint_steps,
        supersede=True,
    )


def training_app(settings: TrainingSettings) -> FastAPI:
    """Return the service: runs in SQLite, executed by child processes.

    Raises:
        TaskError: the configured task cannot be read.
    """
    from shared.task import load_task
    from training_pipeline.service.app import create_app
    from training_pipeline.service.child import TrainingChild
    from training_pipeline.service.metrics import ServiceMetrics
    from training_pipeline.service.readiness import Readiness
    from training_pipeline.service.runs_sqlite import SqliteRunStore
    from training_pipeline.service.worker import Worker

    task_file = settings.task.absolute()
    task = load_task(task_file)
    store = SqliteRunStore(settings.training_home / "runs.db")
    metrics = ServiceMetrics(store)
    worker = Worker(
        store,
        TrainingChild(task_file, child_environment(settings)),
        settings.training_home / "logs",
        metrics.run_finished,
    )
    return create_app(
        task_name=task.name,
        store=store,
        worker=worker,
        metrics=metrics,
        readiness=Readiness(store, worker, task_file, task.name),
    )


def child_environment(settings: TrainingSettings) -> dict[str, str]:
    """Return this process's environment, with the settings that a child must share."""
    return {**os.environ, f"{PREFIX}HOME": str(settings.home), f"{PREFIX}LOG_FORMAT": "json"}
