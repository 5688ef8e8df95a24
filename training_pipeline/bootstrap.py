"""The composition root: the only place that names which store and registry are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from shared.model_registry import quiet_mlflow, tracking_uri
from training_pipeline.settings import TrainingSettings

if TYPE_CHECKING:
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


def fit_checkpoints(settings: TrainingSettings, folder: Path, *, supersede: bool) -> Checkpoints:
    """Return where the fits of a task, of a requested run or of a repetition are saved."""
    from training_pipeline.fit import Checkpoints

    return Checkpoints(
        folder,
        every_seconds=settings.training_checkpoint_seconds,
        every_steps=settings.training_checkpoint_steps,
        supersede=supersede,
    )
