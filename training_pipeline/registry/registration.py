"""The registration of a candidate in MLflow: once, wherever it was cut short before."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.manifest import CHAMPION, PREVIOUS
from training_pipeline.gate.verdict import VERDICT_FILE, Skipped, Verdict
from training_pipeline.registry.candidate import ANY, Candidate, Registered
from training_pipeline.registry.connection import open_experiment, quoted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

_log = get_logger(__name__)

MODEL_FOLDER = "model"
REPORT_FILE = "report.html"
RECORD_FILE = "repro.json"
DIFF_FILE = "code.diff"
CANDIDATE_TAG = "candidate_id"
"""Of runs and of versions."""
LOGGED_TAG = "logging_began"
"""Of runs: when, in milliseconds since 1970, or when a registration that was cut short went on with
them. A run's own start is that of the training."""
FINISHED = "FINISHED"
_SETTLED_TAG = "alias_settled"
"""Of versions: it was decided whether the alias moves to them; why not, if the gate was passed."""
_AS_THE_GATE_SAID = "as the gate said"
# The store takes no more in one call.
_MAX_METRICS_PER_CALL = 1_000


@dataclass(frozen=True)
class Registration:
    """Registers one candidate: a run, then a version, then the alias.

    Each step looks first for what an earlier attempt left, by the candidate's id.
    """

    client: MlflowClient
    artifact_root: str | None
    candidate: Candidate

    def run(self) -> Registered:
        """Do what is missing, and return where the candidate is found."""
        version = self._version()
        if version is None:
            candidate = self._with_note_of_another_champion()
            run = self._logged(candidate)
            version = self._made(candidate, run)
        number = str(version.version)
        settled = version.tags.get(_SETTLED_TAG) or self._crown(number)
        return Registered(
            run_id=str(version.run_id),
            version=number,
            champion=self._champion() == number,
            note="" if settled == _AS_THE_GATE_SAID else settled,
        )

    def _version(self) -> ModelVersion | None:
        """Return the version of this candidate, if there is one."""
        named = f"name = {quoted(self.candidate.name)}"
        tagged = f"tags.{CANDIDATE_TAG} = {quoted(self.candidate.candidate_id)}"
        found = self.client.search_model_versions(f"{named} AND {tagged}")
        return found[0] if found else None

    def _logged(self, candidate: Candidate) -> Run:
        """Return the finished run of this candidate: one that is there, or a new one."""
        experiment = open_experiment(self.client, candidate.name, self.artifact_root)
        tagged = f"tags.{CANDIDATE_TAG} = {quoted(candidate.candidate_id)}"
        for run in self.client.search_runs([experiment], tagged):
            if run.info.status == FINISHED:
                # Whoever cleans up leaves a run alone that somebody works at.
                self.client.set_tag(run.info.run_id, LOGGED_TAG, _milliseconds())
                return run
            # It was cut short: what is missing in it, nobody can tell.
            self.client.delete_run(run.info.run_id)
        run = self.client.create_run(
            experiment,
            start_time=int(candidate.started_at * 1000),
            tags={
                "reason": candidate.reason,
                "gate": _word(candidate.verdict),
                CANDIDATE_TAG: candidate.candidate_id,
                LOGGED_TAG: _milliseconds(),
            },
        )
        run_id = run.info.run_id
        try:
            _log_all(self.client, run_id, candidate)
        except BaseException:
            self._mark_killed(run_id)
            raise
        self.client.set_terminated(run_id)
        return run

    def _mark_killed(self, run_id: str) -> None:
        try:
            self.client.set_terminated(run_id, status="KILLED")
        except Exception:  # noqa: BLE001 - the registry is away; what went wrong first is raised
            _log.warning("run left unfinished in the registry; clean-registry removes it later")

    def _made(self, candidate: Candidate, run: Run) -> ModelVersion:
        client, name = self.client, candidate.name
        if not client.search_registered_models(f"name = {quoted(name)}"):
            client.create_registered_model(name)
        return client.create_model_version(
            name,
            f"{run.info.artifact_uri}/{MODEL_FOLDER}",
            run_id=run.info.run_id,
            tags={
                "gate": _word(candidate.verdict),
                "feature_hash": candidate.feature_hash,
                CANDIDATE_TAG: candidate.candidate_id,
            },
            description=candidate.reason,
        )

    def _crown(self, version: str) -> str:
        """Move the alias if the gate was passed and the champion is still the one compared with.

        MLflow cannot do both in one step: another registration between the two is not noticed.
        Returns how it was settled, as the version's tag says it.
        """
        client, name, note = self.client, self.candidate.name, ""
        if self.candidate.verdict.passed:
            champion = self._champion()
            note = self._another_champion(champion)
            if not note and champion != version:
                if champion is not None:
                    # First, so that the way back is known before the champion changes.
                    client.set_registered_model_alias(name, PREVIOUS, champion)
                client.set_registered_model_alias(name, CHAMPION, version)
        settled = note or _AS_THE_GATE_SAID
        client.set_model_version_tag(name, version, _SETTLED_TAG, settled)
        return settled

    def _with_note_of_another_champion(self) -> Candidate:
        """Return the candidate, its verdict with a note if it is about an earlier champion."""
        note = self._another_champion(self._champion())
        if not note or not self.candidate.verdict.passed:
            return self.candidate
        verdict = self.candidate.verdict
        skipped = Skipped(rule="alias champion", reason=note)
        return replace(
            self.candidate,
            verdict=verdict.model_copy(update={"skipped": (*verdict.skipped, skipped)}),
        )

    def _another_champion(self, champion: str | None) -> str:
        compared = self.candidate.champion
        if compared in {ANY, champion}:
            return ""
        return (
            f"the champion is {f'version {champion}' if champion else 'none'} now, and the verdict"
            f" is about {f'version {compared}' if compared else 'none'}"
        )

    def _champion(self) -> str | None:
        return champion_of(self.client, self.candidate.name)


def champion_of(client: MlflowClient, name: str) -> str | None:
    """Return the number of the champion; None: there is none, or no such model."""
    # A search gives no aliases on some stores; asking for the model by name does.
    if not client.search_registered_models(f"name = {quoted(name)}"):
        return None
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if version is None else str(version)


def _log_all(client: MlflowClient, run_id: str, candidate: Candidate) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    params = [Param(name, str(value)) for name, value in candidate.params.items()]
    metrics = [Metric(name, value, now, 0) for name, value in candidate.metrics.items()]
    metrics += [
        Metric("loss", value, now, step) for step, value in enumerate(candidate.losses, start=1)
    ]
    metrics += [
        Metric(name, value, int(sample.moment * 1000), step)
        for step, sample in enumerate(candidate.system)
        for name, value in sample.figures.items()
    ]
    client.log_batch(run_id, params=params)
    for start in range(0, len(metrics), _MAX_METRICS_PER_CALL):
        client.log_batch(run_id, metrics=metrics[start : start + _MAX_METRICS_PER_CALL])
    client.log_dict(run_id, candidate.verdict.as_json(), VERDICT_FILE)
    client.log_text(run_id, candidate.report, REPORT_FILE)
    client.log_dict(run_id, dict(candidate.reproduction), RECORD_FILE)
    if candidate.code_diff:
        client.log_text(run_id, candidate.code_diff, DIFF_FILE)
    client.log_artifacts(run_id, str(candidate.folder), MODEL_FOLDER)


def _word(verdict: Verdict) -> str:
    return "passed" if verdict.passed else "failed"


def _milliseconds() -> str:
    return str(int(time.time() * 1000))
