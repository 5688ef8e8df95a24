"""The model registry: which versions the aliases of a model name, and the files of a version."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shared.errors import StateError
from shared.manifest import CHAMPION, PREVIOUS
from shared.model_registry import quiet_mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

CHALLENGER = "challenger"
SHADOW = "shadow"
SERVED_ALIASES = (CHAMPION, CHALLENGER, SHADOW)
"""In the order in which they are looked after."""
READ_ALIASES = (*SERVED_ALIASES, PREVIOUS)


class RegistryUnreachableError(StateError):
    """The model registry or its artefacts did not answer; trying again later may help."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of a model."""

    name: str
    version: str
    created: int = field(repr=False)
    """Milliseconds since 1970; tells versions apart when a registry starts anew at version 1."""


@dataclass(frozen=True)
class NamedVersion:
    """What an alias names."""

    version: ModelVersion
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of the version."""


class ModelRegistry(Protocol):
    """What serving needs of a model registry."""

    def aliases(self, name: str) -> dict[str, NamedVersion]:
        """Return what the aliases of a model name; those that name nothing are left out.

        Raises:
            RegistryUnreachableError: the registry does not answer.
        """

    def version(self, name: str, number: str) -> ModelVersion | None:
        """Return a version by its number, None if there is none.

        Raises:
            RegistryUnreachableError: the registry does not answer.
        """

    def download(self, version: ModelVersion, folder: Path) -> None:
        """Write the files of a version into an empty folder.

        Raises:
            RegistryUnreachableError: the files cannot be had at the moment.
        """


class MlflowRegistry:
    """The registry in MLflow."""

    def __init__(self, uri: str) -> None:
        """Connect to nothing yet: the first call does, and may fail and be tried again.

        Args:
            uri: MLflow's tracking and registry address.
        """
        # Read by mlflow when it is imported: logs take the way of all others here, a server shows
        # no progress bars, and nobody outside is told what it does.
        quiet_mlflow()
        # By default it waits for minutes; here it is asked again soon anyway.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        self._uri = uri

    @cached_property
    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def aliases(self, name: str) -> dict[str, NamedVersion]:
        """Return what the aliases of a model name; those that name nothing are left out."""
        named = {}
        for alias in READ_ALIASES:
            with _reaching("model registry"), _none_if_unknown():
                # One by one: asked for the model as a whole, MLflow reads all its versions.
                found = self._client.get_model_version_by_alias(name, alias)
                named[alias] = NamedVersion(_version(found), dict(found.tags))
        return named

    def version(self, name: str, number: str) -> ModelVersion | None:
        """Return a version by its number, None if there is none."""
        with _reaching("model registry"), _none_if_unknown():
            return _version(self._client.get_model_version(name, number))
        return None

    def download(self, version: ModelVersion, folder: Path) -> None:
        """Write the files of a version into an empty folder."""
        from mlflow.artifacts import download_artifacts

        with _reaching(_artefacts(version)):
            # Not through a models:/ address: MLflow resolves those in its global registry.
            source = self._client.get_model_version_download_uri(version.name, version.version)
            files = download_artifacts(
                artifact_uri=source,
                dst_path=str(folder),
                tracking_uri=self._uri,
                registry_uri=self._uri,
            )
            # They come in a folder of the artefact's name.
            for path in Path(files).iterdir():
                path.rename(folder / path.name)
            Path(files).rmdir()


class InMemoryRegistry:
    """A registry of folders on this machine, for tests and trials without MLflow."""

    def __init__(self) -> None:
        self._folders: dict[ModelVersion, Path] = {}
        self._tags: dict[ModelVersion, dict[str, str]] = {}
        self._aliases: dict[tuple[str, str], ModelVersion] = {}

    def register(self, name: str, folder: Path) -> ModelVersion:
        """Keep a folder as the next version of a model."""
        number = sum(version.name == name for version in self._folders) + 1
        version = ModelVersion(name, str(number), created=number)
        self._folders[version] = folder
        self._tags[version] = {}
        return version

    def tag(self, version: ModelVersion, key: str, value: str) -> None:
        """Set a tag of a version."""
        self._tags[version][key] = value

    def point(self, alias: str, version: ModelVersion) -> None:
        """Let an alias name a version."""
        self._aliases[version.name, alias] = version

    def unpoint(self, name: str, alias: str) -> None:
        """Let an alias name nothing."""
        self._aliases.pop((name, alias), None)

    def aliases(self, name: str) -> dict[str, NamedVersion]:
        """Return what the aliases of a model name."""
        return {
            alias: NamedVersion(version, dict(self._tags[version]))
            for (model, alias), version in list(self._aliases.items())
            if model == name
        }

    def version(self, name: str, number: str) -> ModelVersion | None:
        """Return a version by its number, None if there is none."""
        own = (version for version in self._folders if version.name == name)
        return next((version for version in own if version.version == number), None)

    def download(self, version: ModelVersion, folder: Path) -> None:
        """Copy the files of a version into an empty folder."""
        try:
            shutil.copytree(self._folders[version], folder, dirs_exist_ok=True)
        except OSError as error:
            raise _unreachable(_artefacts(version), error) from error


def _version(found: MlflowVersion) -> ModelVersion:
    return ModelVersion(found.name, str(found.version), int(found.creation_timestamp or 0))


@contextmanager
def _none_if_unknown() -> Iterator[None]:
    """Leave the block where MLflow knows no such model, version or alias."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        # The first code is for an unknown model or version, the second for an unknown alias.
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise


@contextmanager
def _reaching(place: str) -> Iterator[None]:
    """Turn the failures of MLflow, its database and its artefact store into one error."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise _unreachable(place, error) from error


def _unreachable(place: str, error: Exception) -> RegistryUnreachableError:
    return RegistryUnreachableError(
        place,
        expected="an answer",
        found=type(error).__name__,
        remedy="It is tried again; the log tells more.",
    )


def _artefacts(version: ModelVersion) -> str:
    return f"artefacts of {version.name} version {version.version}"
