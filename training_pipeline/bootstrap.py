"""The composition root: the only place that names which store and registry are used."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
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


def training_pipeline(
    settings: TrainingSettings, *, versions_file: Path | None = None
) -> TrainingPipeline:
    """Return the pipeline on Feast and MLflow.

    Args:
        settings: where these are.
        versions_file: pins table versions for whoever uses the same file again.
    """
    from training_pipeline.pipeline import TrainingPipeline

    source = dataset_source(settings) if versions_file is None else _pinned(settings, versions_file)
    return TrainingPipeline(source, model_registry(settings), kept_results(settings))


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


def _pinned(settings: TrainingSettings, versions_file: Path) -> DatasetSource:
    from training_pipeline.pinned_dataset import PinnedDataset

    return PinnedDataset(versions_file, partial(dataset_source, settings))


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
