"""The registry: training runs and model versions."""

from training_pipeline.registry.candidate import ANY, Candidate, Registered, Sample
from training_pipeline.registry.mlflow_registry import MlflowRegistry
from training_pipeline.registry.port import Leftover, ModelRegistry, PastTraining, PastVersion

__all__ = [
    "ANY",
    "Candidate",
    "Leftover",
    "MlflowRegistry",
    "ModelRegistry",
    "PastTraining",
    "PastVersion",
    "Registered",
    "Sample",
]
