"""Tracking: a search as nested runs of MLflow, a run for the search and below it one a trial."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from training_pipeline.registry.connection import connect, open_experiment, registry_errors
from training_pipeline.tune.trials import Measured, Outcome, Parameters, Trial, as_toml

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE_FILE, BEST_FILE = "search.html", "best.toml"
_SEARCH, _TRIAL, _OUTCOME, _REASON = "search", "trial", "outcome", "reason"
_STATUS: dict[Outcome, str] = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
_RUNS_A_CALL = 1_000


@dataclass(frozen=True)
class TrialRun:
    """The run of a trial."""

    client: MlflowClient
    run_id: str

    def epoch(self, number: int, measured: Measured) -> None:
        """Log how good the model is after an epoch."""
        self._log(measured, "epoch", number)

    def end(self, outcome: Outcome, measured: Measured | None = None, reason: str = "") -> None:
        """Log what came of the trial, and end its run."""
        with _errors("to take a trial"):
            if measured is not None:
                self._log(measured, "validation", 0)
            self.client.set_tag(self.run_id, _OUTCOME, outcome)
            if reason:
                self.client.set_tag(self.run_id, _REASON, reason)
            self.client.set_terminated(self.run_id, status=_STATUS[outcome])

    def _log(self, measured: Measured, prefix: str, step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(f"{prefix}_{name}", value, now, step) for name, value in asdict(measured).items()
        ]
        with _errors("to take measurements of a trial"):
            self.client.log_batch(self.run_id, metrics=metrics)


@dataclass(frozen=True)
class SearchRun:
    """The run of a search."""

    client: MlflowClient
    experiment_id: str
    run_id: str
    uid: str

    def trial(self, number: int, parameters: Parameters) -> TrialRun:
        """Return the run of a trial: that of an earlier attempt at it, or a new one."""
        with _errors("to take a trial"):
            tags = {MLFLOW_PARENT_RUN_ID: self.run_id, _SEARCH: self.uid, _TRIAL: str(number)}
            run_id = _begin(self.client, self.experiment_id, f"trial {number}", tags)
            _log_params(self.client, run_id, parameters)
            return TrialRun(self.client, run_id)

    def conclude(self, best: Trial, page: str) -> None:
        """Log what was found: the best parameters and the page that tells of all."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with _errors("to take what was found"):
            if best.value is not None:
                value = Metric("best_value", best.value, now, best.number)
                self.client.log_batch(self.run_id, metrics=[value])
            self.client.log_text(self.run_id, as_toml(best.parameters) + "\n", BEST_FILE)
            self.client.log_text(self.run_id, page, PAGE_FILE)


class SearchTracking:
    """Keeps searches in MLflow, in the experiment that the task's training runs are in, too."""

    def __init__(self, tracking_uri: str, artifact_root: str | None, experiment: str) -> None:
        self._tracking_uri = tracking_uri
        self._artifact_root = artifact_root
        self._experiment = experiment

    def close_abandoned(self, uid: str) -> int:
        """End the runs of a search whose process was killed; return how many there were.

        Args:
            uid: of the study.
        """
        with _errors("the runs of a search"):
            client = connect(self._tracking_uri)
            experiment = open_experiment(client, self._experiment, self._artifact_root)
            running = [
                run for run in _runs(client, experiment, uid) if run.info.status == "RUNNING"
            ]
            for run in running:
                client.set_terminated(run.info.run_id, status="KILLED")
            return len(running)

    @contextmanager
    def search(self, name: str, uid: str, params: Mapping[str, object]) -> Iterator[SearchRun]:
        """Give the run of a search, and end it however the context ends.

        Raises:
            StateError: MLflow does not take it.
        """
        with _errors("to take a search"):
            client = connect(self._tracking_uri)
            experiment_id = open_experiment(client, self._experiment, self._artifact_root)
            run_id = _begin(client, experiment_id, f"search of {name}", {_SEARCH: uid})
            _log_params(client, run_id, params)
        status = "FAILED"
        try:
            yield SearchRun(client, experiment_id, run_id, uid)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            for run in _runs(client, experiment_id, uid):
                if run.info.status == "RUNNING":
                    client.set_terminated(run.info.run_id, status=status)


def _begin(client: MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str]) -> str:
    """Return the run with these tags, running again if it was ended, or a new one."""
    for run in _runs(client, experiment_id, tags[_SEARCH]):
        if run.data.tags.get(_TRIAL) == tags.get(_TRIAL):
            client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
    made = client.create_run(experiment_id, run_name=name, tags=dict(tags))
    return str(made.info.run_id)


def _runs(client: MlflowClient, experiment_id: str, uid: str) -> list[Run]:
    """Return all runs of a search."""
    found: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment_id], f"tags.{_SEARCH} = '{uid}'", max_results=_RUNS_A_CALL, page_token=token
        )
        found += page
        token = page.token
        if not token:
            return found


def _log_params(client: MlflowClient, run_id: str, params: Mapping[str, object]) -> None:
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in params.items()])


def _errors(expected: str) -> AbstractContextManager[None]:
    return registry_errors(
        expected, "Mend it, and give the same command again: the search goes on."
    )
