"""Leftovers: runs that came to no version, since their registration was cut short.

Other runs of the experiment, such as those of a search, are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from training_pipeline.registry.connection import quoted
from training_pipeline.registry.port import Leftover
from training_pipeline.registry.registration import CANDIDATE_TAG, LOGGED_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_ENDED, _UNENDED = ("KILLED", "FAILED"), ("RUNNING", "SCHEDULED")


def find_leftovers(client: MlflowClient, name: str, before: datetime) -> Iterator[Leftover]:
    """Yield runs of a task that were cut short, none of which a version points at.

    Args:
        client: of MLflow.
        name: the task's.
        before: a run that has not ended counts only if it was logged before: others may be at work.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return
    for status in (*_ENDED, *_UNENDED):
        for run in _runs(client, experiment.experiment_id, status):
            if CANDIDATE_TAG not in run.data.tags:
                continue
            leftover = Leftover(run.info.run_id, status, _logged_at(run))
            if status in _UNENDED and leftover.began >= before:
                continue
            if not client.search_model_versions(f"run_id = {quoted(leftover.run_id)}"):
                yield leftover


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
