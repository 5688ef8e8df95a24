"""The model registry: which version is champion, and its files on this machine's disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shared.errors import ContractError, StateError
from shared.manifest import CHAMPION, read_manifest
from shared.model_registry import quiet_mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient


class RegistryUnreachableError(StateError):
    """The model registry or its artefacts did not answer; trying again later may help."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of a model."""

    name: str
    version: str
    created: int = field(repr=False)
    """Milliseconds since 1970; tells versions apart when a registry starts anew at version 1."""


class ModelRegistry(Protocol):
    """What serving needs of a model registry."""

    def champion(self, name: str) -> ModelVersion | None:
        """Return the version that the alias ``champion`` of a model names, None without one.

        Raises:
            RegistryUnreachableError: the registry does not answer.
        """

    def fetch(self, version: ModelVersion) -> Path:
        """Return the folder that holds the files of a version, downloading them when needed.

        Raises:
            RegistryUnreachableError: the files cannot be had at the moment.
        """


class MlflowRegistry:
    """The registry in MLflow."""

    def __init__(self, uri: str, *, cache: Path) -> None:
        """Connect to nothing yet: the first call does, and may fail and be tried again.

        Args:
            uri: MLflow's tracking and registry address.
            cache: the folder that keeps downloaded versions, one folder each.
        """
        # Read by mlflow when it is imported: logs take the way of all others here, a server shows
        # no progress bars, and nobody outside is told what it does.
        quiet_mlflow()
        self._uri = uri
        self._cache = cache

    @cached_property
    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def champion(self, name: str) -> ModelVersion | None:
        """Return the version that the alias ``champion`` of a model names, None without one."""
        from mlflow.exceptions import MlflowException

        with _reaching("model registry"):
            try:
                found = self._client.get_model_version_by_alias(name, CHAMPION)
            except MlflowException as error:
                # The first code is for an unknown model, the second for an unknown alias.
                if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                    return None
                raise
        return ModelVersion(name, str(found.version), int(found.creation_timestamp or 0))

    def fetch(self, version: ModelVersion) -> Path:
        """Return the folder that holds the files of a version, downloading them when needed."""
        folder = self._cache / version.name / f"{version.version}-{version.created}"
        if folder.is_dir():
            try:
                read_manifest(folder)
            except ContractError:
                # Damaged on this disk, or damaged when it was registered: only a fresh copy tells.
                shutil.rmtree(folder)
            else:
                return folder
        self._download(version, folder)
        return folder

    def _download(self, version: ModelVersion, folder: Path) -> None:
        from mlflow.artifacts import download_artifacts

        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            _reaching(f"artefacts of {version.name} version {version.version}"),
            # Renamed when complete, so that an interrupted download is never taken for a version.
            tempfile.TemporaryDirectory(prefix=".download-", dir=folder.parent) as unfinished,
        ):
            # Not through a models:/ address: MLflow resolves those in its global registry.
            source = self._client.get_model_version_download_uri(version.name, version.version)
            files = download_artifacts(
                artifact_uri=source,
                dst_path=unfinished,
                tracking_uri=self._uri,
                registry_uri=self._uri,
            )
            Path(files).rename(folder)


@contextmanager
def _reaching(place: str) -> Iterator[None]:
    """Turn the failures of MLflow, its database and its artefact store into one error."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise RegistryUnreachableError(
            place,
            expected="an answer",
            found=type(error).__name__,
            remedy="It is tried again; the log tells more.",
        ) from error
