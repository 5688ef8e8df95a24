"""The registry: training runs and model versions in MLflow."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from shared.errors import StateError
from shared.manifest import CHAMPION, PREVIOUS
from training_pipeline.evaluation.champion import ChampionPackage
from training_pipeline.gate.verdict import VERDICT_FILE, Verdict

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL_FOLDER = "model"
REPORT_FILE = "report.html"
# The store takes no more in one call.
_MAX_METRICS_PER_CALL = 1_000
_MAX_PAST_VERSIONS = 20
_TAKE_REMEDY = "Mend the registry and train again; no version was half registered."
_READ_REMEDY = "Mend the registry and train again."


@dataclass(frozen=True)
class Candidate:
    """A packaged model and all that is to be remembered of how it came about."""

    name: str
    """The registered model: the task's name."""
    folder: Path
    """The files of the version."""
    feature_hash: str
    verdict: Verdict
    reason: str
    """Why the run was asked for."""
    started_at: float
    """Seconds since 1970."""
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    losses: Sequence[float]
    """One per step."""
    reproduction: Mapping[str, Any]
    report: str
    """A page of HTML."""


@dataclass(frozen=True)
class Registered:
    """Where a candidate is found."""

    run_id: str
    version: str


@dataclass(frozen=True)
class PastVersion:
    """A version that was registered before, and how it did on the rows held out then."""

    version: str
    gate: str
    """``passed`` or ``failed``."""
    metrics: Mapping[str, float]
    """Empty where its run was deleted."""


class ModelRegistry(Protocol):
    """Keeps model versions. What cannot be read or kept is a StateError."""

    def fetch_champion(self, name: str, folder: Path) -> ChampionPackage | None:
        """Write the files of the champion into an empty folder; None: there is no champion."""

    def history(self, name: str) -> Sequence[PastVersion]:
        """Return the latest versions of a model, oldest first."""

    def register(self, candidate: Candidate) -> Registered:
        """Keep a candidate; make it champion if it passed the gate."""


class MlflowRegistry:
    """Keeps model versions in MLflow.

    A candidate is logged as one run, at the end: whoever interrupts training leaves nothing here.
    The version is created after all its files are there, in one transaction with its tags.
    """

    def __init__(self, tracking_uri: str, artifact_root: str | None) -> None:
        self._tracking_uri = tracking_uri
        self._artifact_root = artifact_root

    def register(self, candidate: Candidate) -> Registered:
        """Log the run, register the version, and move the alias if the gate was passed.

        A version that failed the gate is registered too, for people to look at; no alias is
        moved to it. The former champion gets the alias ``previous``.

        Raises:
            StateError: the registry did not take it.
        """
        with _registry_errors("to take the trained model", _TAKE_REMEDY):
            return self._register(candidate)

    def fetch_champion(self, name: str, folder: Path) -> ChampionPackage | None:
        """Write the files of the champion into an empty folder; None: there is no champion."""
        from mlflow.artifacts import download_artifacts

        with _registry_errors("the files of the champion", _READ_REMEDY):
            client = self._client()
            # A search gives no aliases on some stores; asking for the model by name does.
            known = client.search_registered_models(f"name = '{name}'")
            version = client.get_registered_model(name).aliases.get(CHAMPION) if known else None
            if version is None:
                return None
            # Not through a models:/ address: MLflow resolves those in its global registry.
            files = download_artifacts(
                artifact_uri=client.get_model_version_download_uri(name, str(version)),
                dst_path=str(folder),
                tracking_uri=self._tracking_uri,
                registry_uri=self._tracking_uri,
            )
            return ChampionPackage(version=str(version), folder=Path(files))

    def history(self, name: str) -> Sequence[PastVersion]:
        """Return the latest versions of a model, oldest first."""
        with _registry_errors("the versions of the model", _READ_REMEDY):
            client = self._client()
            found = client.search_model_versions(
                f"name = '{name}'",
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

    def _register(self, candidate: Candidate) -> Registered:
        client = self._client()
        run = client.create_run(
            self._experiment(client, candidate.name),
            start_time=int(candidate.started_at * 1000),
            tags={"reason": candidate.reason, "gate": _word(candidate.verdict)},
        )
        run_id = run.info.run_id
        try:
            _log(client, run_id, candidate)
        except BaseException:
            client.set_terminated(run_id, status="KILLED")
            raise
        client.set_terminated(run_id)
        version = self._version(
            client, candidate, run_id, f"{run.info.artifact_uri}/{MODEL_FOLDER}"
        )
        if candidate.verdict.passed:
            _crown(client, candidate.name, version)
        return Registered(run_id=run_id, version=version)

    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        with warnings.catch_warnings():
            # MLflow sets up its tables in a way that its database library deprecates.
            warnings.filterwarnings("ignore", message="The ``noload``", category=DeprecationWarning)
            return MlflowClient(tracking_uri=self._tracking_uri, registry_uri=self._tracking_uri)

    def _experiment(self, client: MlflowClient, name: str) -> str:
        found = client.get_experiment_by_name(name)
        if found is None:
            return str(client.create_experiment(name, artifact_location=self._artifact_root))
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _version(self, client: MlflowClient, candidate: Candidate, run_id: str, source: str) -> str:
        if not client.search_registered_models(f"name = '{candidate.name}'"):
            client.create_registered_model(candidate.name)
        made = client.create_model_version(
            candidate.name,
            source,
            run_id=run_id,
            tags={"gate": _word(candidate.verdict), "feature_hash": candidate.feature_hash},
            description=candidate.reason,
        )
        return str(made.version)


def _log(client: MlflowClient, run_id: str, candidate: Candidate) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    params = [Param(name, str(value)) for name, value in candidate.params.items()]
    metrics = [Metric(name, value, now, 0) for name, value in candidate.metrics.items()]
    metrics += [
        Metric("loss", value, now, step) for step, value in enumerate(candidate.losses, start=1)
    ]
    client.log_batch(run_id, params=params)
    for start in range(0, len(metrics), _MAX_METRICS_PER_CALL):
        client.log_batch(run_id, metrics=metrics[start : start + _MAX_METRICS_PER_CALL])
    client.log_dict(run_id, candidate.verdict.as_json(), VERDICT_FILE)
    client.log_text(run_id, candidate.report, REPORT_FILE)
    client.log_dict(run_id, dict(candidate.reproduction), "repro.json")
    client.log_artifacts(run_id, str(candidate.folder), MODEL_FOLDER)


def _metrics_of(client: MlflowClient, run_id: str | None) -> dict[str, float]:
    """Return what a run measured; nothing if somebody deleted it, as operators may."""
    from mlflow.exceptions import MlflowException

    try:
        return dict(client.get_run(run_id).data.metrics) if run_id else {}
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise


def _crown(client: MlflowClient, name: str, version: str) -> None:
    champion = client.get_registered_model(name).aliases.get(CHAMPION)
    if champion is not None:
        # First, so that the way back is known before the champion changes.
        client.set_registered_model_alias(name, PREVIOUS, str(champion))
    client.set_registered_model_alias(name, CHAMPION, version)


def _word(verdict: Verdict) -> str:
    return "passed" if verdict.passed else "failed"


@contextmanager
def _registry_errors(expected: str, remedy: str) -> Iterator[None]:
    """Turn whatever MLflow and the database behind it raise, errors of their own, into ours."""
    try:
        yield
    except Exception as error:
        raise StateError(
            "model registry",
            expected=expected,
            found=type(error).__name__,
            remedy=remedy,
        ) from error
