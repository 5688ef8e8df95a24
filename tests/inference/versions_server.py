"""Versions as a server follows them, without the server, on a registry that can be away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from inference_pipeline.features.reader import InMemoryFeatureReader
from inference_pipeline.metrics import Metrics
from inference_pipeline.versions.local_versions import LocalVersions
from inference_pipeline.versions.registry import (
    InMemoryRegistry,
    ModelVersion,
    NamedVersion,
    RegistryUnreachableError,
)
from inference_pipeline.versions.surroundings import Surroundings
from inference_pipeline.versions.variants import ParityBounds
from inference_pipeline.versions.versions import Versions
from tests.inference.registry_files import MODEL


class FailingRegistry(InMemoryRegistry):
    """A registry that can be away as a whole, or with its artefacts only."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.artifacts_away = False

    def aliases(self, name: str) -> dict[str, NamedVersion]:
        _check("registry", away=self.away)
        return super().aliases(name)

    def version(self, name: str, number: str) -> ModelVersion | None:
        _check("registry", away=self.away)
        return super().version(name, number)

    def download(self, version: ModelVersion, folder: Path) -> None:
        _check("artefacts", away=self.away or self.artifacts_away)
        super().download(version, folder)


def _check(place: str, *, away: bool) -> None:
    if away:
        raise RegistryUnreachableError(place, expected="an answer", found="nobody there")


@dataclass
class VersionsServer:
    """What stays when a server is restarted: the registry, the feature store and its disk."""

    registry: FailingRegistry
    reader: InMemoryFeatureReader
    folder: Path

    def start(self) -> Versions:
        """Return the versions of a server that has not looked at the registry yet."""
        return Versions(
            [MODEL],
            Surroundings(
                registry=self.registry,
                files=LocalVersions(self.registry, self.folder, grace=timedelta(0)),
                reader=self.reader,
                warm_up=lambda _: None,
                bounds=ParityBounds(),
                metrics=Metrics().versions,
                lone_pass_threads=1,
            ),
            poll=timedelta(milliseconds=1),
            patience=timedelta(milliseconds=20),
        )
