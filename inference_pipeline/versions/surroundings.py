"""What following the models of a server takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inference_pipeline.features.reader import FeatureReader
from inference_pipeline.versions.local_versions import LocalVersions
from inference_pipeline.versions.metrics import VersionMetrics
from inference_pipeline.versions.registry import ModelRegistry
from inference_pipeline.versions.variants import ParityBounds
from shared.feature_store import FeatureService


@dataclass(frozen=True)
class Surroundings:
    """What following a model needs, the same for all models of a server."""

    registry: ModelRegistry
    files: LocalVersions
    reader: FeatureReader
    warm_up: Callable[[FeatureService], None]
    """Called before a version serves, so that the first request does not pay for connecting."""
    bounds: ParityBounds
    metrics: VersionMetrics
    lone_pass_threads: int
    """Of a forward pass while nothing else runs."""
