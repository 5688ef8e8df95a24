"""An FTI home as the other two pipelines leave it: online features, and models with a champion."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.serving.texts import SOURCES, SUBJECTS, Text
from feature_pipeline.store.feature_repository import apply_task
from feature_pipeline.store.offline_tables import OfflineTables
from shared.feature_store import (
    FeatureService,
    open_feature_store,
    read_feature_service,
)
from shared.features import (
    KNOWN_AT,
    ROLES,
    Role,
    activity_view,
    count_columns,
    feature_service_name,
    join_key,
    share_columns,
)
from shared.manifest import MANIFEST_FILE, Manifest
from shared.model_registry import tracking_uri
from shared.places import Places
from shared.task import Task
from training_pipeline.gate.verdict import Verdict
from training_pipeline.registry import Candidate, MlflowRegistry

if TYPE_CHECKING:
    from feast import FeatureStore

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FilledStore:
    """What stands in the online store."""

    service: FeatureService
    rows: dict[Role, pd.DataFrame]
    """By role, indexed by the entity's name."""

    @property
    def columns(self) -> list[str]:
        """What a model reads, in order."""
        return [feature.column for feature in self.service.features]

    def of(self, texts: list[Text]) -> Floats:
        """Return the features of texts, float32 [texts, columns]."""
        served = {feature.column: feature for feature in self.service.features}
        values = np.empty((len(texts), len(self.columns)), dtype=np.float32)
        for place, column in enumerate(self.columns):
            feature = served[column]
            role = next(role for role in ROLES if activity_view(role) == feature.view)
            names = [getattr(text, join_key(role)) for text in texts]
            values[:, place] = self.rows[role].loc[names, feature.name].to_numpy(dtype=np.float32)
        return values


def fill_store(home: Path, task: Task, *, seed: int) -> FilledStore:
    """Make the feature store of a task and write a row for each subject and source."""
    store = open_feature_store(Places.embedded(home))
    apply_task(task, store, OfflineTables(Places.embedded(home).offline_store))
    random = np.random.default_rng(seed)
    rows = {
        role: _write(store, task, role, count, random)
        for role, count in zip(ROLES, (SUBJECTS, SOURCES), strict=True)
    }
    return FilledStore(read_feature_service(store, feature_service_name(task.name)), rows)


def _write(
    store: FeatureStore, task: Task, role: Role, count: int, random: np.random.Generator
) -> pd.DataFrame:
    now = datetime.now(UTC)
    names = [f"{role}-{number}" for number in range(count)]
    frame = pd.DataFrame(
        {
            join_key(role): names,
            KNOWN_AT: [now] * count,
            **{name: random.poisson(20, count) for name in count_columns(task)},
            **{name: random.random(count) for name in share_columns(task)},
            **dict.fromkeys(("first_seen", "last_seen"), [now - timedelta(hours=1)] * count),
        }
    )
    store.write_to_online_store(activity_view(role), frame)
    return frame.set_index(join_key(role))


def publish(home: Path, name: str, package: Path, manifest: Manifest) -> str:
    """Register a version under a manifest, make it champion, and return its number."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "version"
        folder.mkdir()
        for file in package.iterdir():
            shutil.copy(file, folder)
        (folder / MANIFEST_FILE).write_text(manifest.model_dump_json())
        candidate = Candidate(
            name=name,
            folder=folder,
            feature_hash=manifest.feature_hash,
            verdict=Verdict(),
            reason="benchmark",
            started_at=time.time(),
            params={},
            metrics={},
            losses=[],
            reproduction={},
            report="",
        )
        registry = MlflowRegistry(
            tracking_uri(Places.embedded(home)), Places.embedded(home).mlflow_artifacts
        )
        return registry.register(candidate).version
