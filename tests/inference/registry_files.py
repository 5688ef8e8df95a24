"""Publishing model versions to a real MLflow registry, as training does."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from shared.feature_store import FeatureService
from shared.manifest import CHAMPION
from shared.model_registry import tracking_uri
from shared.places import Places
from tests.inference.tiny_model import TinyModel

MODEL = "tiny"


@dataclass(frozen=True)
class Publisher:
    """Registers tiny versions, under a home or with an MLflow server."""

    home: Path
    service: FeatureService
    server: str = ""
    """The address of an MLflow server; empty: MLflow's files under the home."""

    @property
    def places(self) -> Places:
        """Where versions go."""
        embedded = Places.embedded(self.home)
        if not self.server:
            return embedded
        return replace(embedded, mlflow=self.server, mlflow_artifacts=None)

    @property
    def client(self) -> MlflowClient:
        """Return a client of the registry."""
        uri = tracking_uri(self.places)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)

    def register(self, model: TinyModel) -> str:
        """Register a version and return its number."""
        with tempfile.TemporaryDirectory() as folder:
            return self.register_files(model.write(Path(folder) / "made", self.service))

    def register_files(self, files: Path) -> str:
        """Register a folder as a version and return its number."""
        client = self.client
        experiment = client.get_experiment_by_name(MODEL)
        experiment_id = (
            client.create_experiment(MODEL, artifact_location=self.places.mlflow_artifacts)
            if experiment is None
            else experiment.experiment_id
        )
        run = client.create_run(experiment_id)
        client.log_artifacts(run.info.run_id, str(files), "model")
        try:
            client.get_registered_model(MODEL)
        except MlflowException:
            client.create_registered_model(MODEL)
        source = f"{run.info.artifact_uri}/model"
        return str(client.create_model_version(MODEL, source, run.info.run_id).version)

    def point(self, alias: str, version: str) -> None:
        """Move an alias to a version."""
        self.client.set_registered_model_alias(MODEL, alias, version)

    def crown(self, version: str) -> None:
        """Move the alias ``champion`` to a version."""
        self.point(CHAMPION, version)

    def publish(self, model: TinyModel) -> str:
        """Register a version, make it champion and return its number."""
        version = self.register(model)
        self.crown(version)
        return version
