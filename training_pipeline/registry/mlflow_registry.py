"""The registry in MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import StateError
from training_pipeline.evaluation.champion import ChampionPackage
from training_pipeline.registry.candidate import Candidate, Registered
from training_pipeline.registry.connection import connect, quoted, registry_errors
from training_pipeline.registry.leftovers import find_leftovers, still_left
from training_pipeline.registry.port import Leftover, PastTraining, PastVersion
from training_pipeline.registry.registration import RECORD_FILE, Registration, champion_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_MAX_PAST_VERSIONS = 20
_TAKE_REMEDY = "Mend the registry and register again; no version was half registered."
_READ_REMEDY = "Mend the registry and run the same command again."


class MlflowRegistry:
    """Keeps model versions in MLflow.

    A candidate is logged as one run, at the end: whoever interrupts training leaves nothing here.
    The version is created after all its files are there, in one transaction with its tags.
    """

    def __init__(self, tracking_uri: str, artifact_root: str | None) -> None:
        self._tracking_uri = tracking_uri
        self._artifact_root = artifact_root

    def check(self) -> None:
        """Return if the registry answers.

        Raises:
            StateError: it does not.
        """
        with registry_errors("an answer, since it will take what is trained", _READ_REMEDY):
            self._client().search_registered_models(max_results=1)

    def register(self, candidate: Candidate) -> Registered:
        """Log the run, register the version, and move the alias if the gate was passed.

        A version that failed the gate is registered too, for people to look at; no alias is
        moved to it, nor if the champion is another than the verdict is about. The former champion
        gets the alias ``previous``. What an interrupted registration left is gone on with.

        Raises:
            StateError: the registry did not take it.
        """
        with registry_errors("to take the trained model", _TAKE_REMEDY):
            return Registration(self._client(), self._artifact_root, candidate).run()

    def fetch_champion(self, name: str, folder: Path) -> ChampionPackage | None:
        """Write the files of the champion into an empty folder; None: there is no champion."""
        from mlflow.artifacts import download_artifacts

        with registry_errors("the files of the champion", _READ_REMEDY):
            client = self._client()
            version = champion_of(client, name)
            if version is None:
                return None
            # Not through a models:/ address: MLflow resolves those in its global registry.
            files = download_artifacts(
                artifact_uri=client.get_model_version_download_uri(name, version),
                dst_path=str(folder),
                tracking_uri=self._tracking_uri,
                registry_uri=self._tracking_uri,
            )
            return ChampionPackage(version=version, folder=Path(files))

    def history(self, name: str) -> Sequence[PastVersion]:
        """Return the latest versions of a model, oldest first."""
        with registry_errors("the versions of the model", _READ_REMEDY):
            client = self._client()
            found = client.search_model_versions(
                f"name = {quoted(name)}",
                max_results=_MAX_PAST_VERSIONS,
                order_by=["version_number DESC"],
            )
            return [
                PastVersion(
                    version=str(one.version),
                    gate=one.tags.get("gate", "unknown"),
                    metrics=_metrics_of(client, one.run_id),
                )
                for one in reversed(found)
            ]

    def past_training(self, name: str, version: str) -> PastTraining:
        """Return how a version came about.

        Args:
            name: of the registered model.
            version: a number, or an alias.

        Raises:
            StateError: there is no such version, its run was deleted, or the registry is away.
        """
        from mlflow.artifacts import download_artifacts

        with registry_errors("the run of the version", _READ_REMEDY):
            client = self._client()
            found = _version(client, name, version)
            with tempfile.TemporaryDirectory() as folder:
                record = download_artifacts(
                    run_id=found.run_id,
                    artifact_path=RECORD_FILE,
                    dst_path=folder,
                    tracking_uri=self._tracking_uri,
                )
                content = Path(record).read_bytes()
            losses = client.get_metric_history(str(found.run_id), "loss")
            return PastTraining(
                version=str(found.version),
                record=content,
                losses=[one.value for one in sorted(losses, key=lambda one: one.step)],
            )

    def leftovers(self, name: str, before: datetime) -> Sequence[Leftover]:
        """Return the runs of a task that came to no version.

        Args:
            name: the task's.
            before: when runs that are not marked as cut short must have been logged to count.
        """
        with registry_errors("the runs of the task", _READ_REMEDY):
            return list(find_leftovers(self._client(), name, before))

    def delete(self, leftover: Leftover) -> bool:
        """Delete a run, as MLflow does: its own ``gc`` removes its files and rows for good.

        Returns:
            Whether it did; not, if somebody went on with the run since it was found.
        """
        with registry_errors("to delete a run", _READ_REMEDY):
            client = self._client()
            if not still_left(client, leftover):
                return False
            client.delete_run(leftover.run_id)
            return True

    def _client(self) -> MlflowClient:
        return connect(self._tracking_uri)


def _version(client: MlflowClient, name: str, version: str) -> ModelVersion:
    """Return a version by its number or an alias."""
    from mlflow.exceptions import MlflowException

    try:
        if version.isdecimal():
            return client.get_model_version(name, version)
        return client.get_model_version_by_alias(name, version)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        raise StateError(
            f"model registry, model {name}",
            expected="the number of a version, or an alias",
            found=repr(version),
            remedy="MLflow lists the versions of the model; --task names another task.",
        ) from error


def _metrics_of(client: MlflowClient, run_id: str | None) -> dict[str, float]:
    """Return what a run measured; nothing if somebody deleted it, as operators may."""
    from mlflow.exceptions import MlflowException

    try:
        return dict(client.get_run(run_id).data.metrics) if run_id else {}
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
