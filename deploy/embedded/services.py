"""The processes of the embedded mode."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.embedded.processes import Service
from feature_pipeline.settings import FeatureSettings
from inference_pipeline.settings import InferenceSettings
from shared.settings import load_settings
from shared.task import load_task
from training_pipeline.settings import TrainingSettings


def embedded_services(environment: Mapping[str, str]) -> dict[str, Service]:
    """Return the services by name, on the ports that the environment gives.

    Raises:
        SettingsError: a variable of one of the services is unknown or of no use.
        TaskError: the task file cannot be read.
    """
    features = load_settings(FeatureSettings, environment)
    training = load_settings(TrainingSettings, environment)
    inference = load_settings(InferenceSettings, environment)
    services = [
        Service("features", ("feature_pipeline", "serve"), features.features_port),
        Service("stream", ("feature_pipeline", "stream")),
        Service("training", ("training_pipeline", "serve"), training.training_port),
        Service("training-worker", ("training_pipeline", "work")),
        Service("inference", ("inference_pipeline", "serve"), inference.inference_port),
    ]
    if load_task(training.task).training.schedules:
        services.append(Service("training-beat", ("training_pipeline", "beat")))
    return {service.name: service for service in services}
