"""Leftovers: runs that came to no version, since their registration was cut short.

Other runs of the experiment, such as those of a search, are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from training_pipeline.registry.connection import quoted
from training_pipeline.registry.port import Leftover
from training_pipeline.registry.registration import CANDIDATE_TAG, FINISHED, LOGGED_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_CUT_SHORT = ("KILLED", "FAILED")
_PERHAPS_AT_WORK = ("RUNNING", "SCHEDULED", FINISHED)
"""A finished run gets its version a moment later, unless its registration ended between the two."""


def find_leftovers(client: MlflowClient, name: str, before: datetime) -> Iterator[Leftover]:
    """Yield runs of a task that were cut short, none of which a version points at.

    Args:
        client: of MLflow.
        name: the task's.
        before: a run that has not ended, or has, but with no version yet, counts only if it was
            logged or gone on with before: others may be at work.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return
    for status in (*_CUT_SHORT, *_PERHAPS_AT_WORK):
        for run in _runs(client, experiment.experiment_id, status):
            if CANDIDATE_TAG not in run.data.tags:
                continue
            leftover = Leftover(run.info.run_id, status, _logged_at(run))
            if status in _PERHAPS_AT_WORK and leftover.began >= before:
                continue
            if not _has_version(client, leftover.run_id):
                yield leftover


def still_left(client: MlflowClient, leftover: Leftover) -> bool:
    """Tell whether nobody has gone on with a run since it was found."""
    run = client.get_run(leftover.run_id)
    unchanged = (run.info.status, _logged_at(run)) == (leftover.status, leftover.began)
    return unchanged and not _has_version(client, leftover.run_id)


def _has_version(client: MlflowClient, run_id: str) -> bool:
    """Tell whether a version points at a run."""
    return bool(client.search_model_versions(f"run_id = {quoted(run_id)}"))


def _runs(client: MlflowClient, experiment_id: str, status: str) -> list[Run]:
    """Return all runs of a status, oldest first."""
    wanted, found, token = f"attributes.status = {quoted(status)}", [], None
    while True:
        page = client.search_runs(
            [experiment_id], wanted, order_by=["attributes.start_time ASC"], page_token=token
        )
        found += list(page)
        token = page.token
        if not token:
            return found


def _logged_at(run: Run) -> datetime:
    milliseconds = int(run.data.tags.get(LOGGED_TAG, run.info.start_time))
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
