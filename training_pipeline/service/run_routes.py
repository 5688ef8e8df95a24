"""The routes of training runs: ask for one, look at one, list them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from training_pipeline.service.http_errors import RequestError
from training_pipeline.service.runs import Run, RunState, RunStore, new_run
from training_pipeline.service.worker import Worker


class RunRequest(BaseModel):
    """A request to train."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")]
    """Kept with the run and with the model version."""
    task: str | None = None
    """If given, it must be the task that this service trains."""
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The same key never makes a second run."""


class Accepted(BaseModel):
    """A run that was taken, or had been taken before under the same key."""

    run_id: str
    state: RunState


class RunList(BaseModel):
    """Runs, newest first."""

    runs: list[Run]


def run_routes(task_name: str, store: RunStore, worker: Worker) -> APIRouter:
    """Return the routes. They are plain functions: the store blocks, so they run in threads."""
    router = APIRouter(prefix="/v1/runs")

    @router.post("", status_code=202)
    def post_run(asked: RunRequest, response: Response) -> Accepted:
        """Ask for a training run."""
        if asked.task is not None and asked.task != task_name:
            raise RequestError(
                422,
                "body.task",
                expected=f"{task_name!r}, the task of this service",
                found=repr(asked.task)[:200],
            )
        run = store.add(new_run(asked.reason, datetime.now(UTC)), asked.idempotency_key)
        worker.wake()
        response.headers["Location"] = f"/v1/runs/{run.run_id}"
        return Accepted(run_id=run.run_id, state=run.state)

    @router.get("")
    def list_runs(limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> RunList:
        """List runs, newest first."""
        return RunList(runs=store.newest(limit))

    @router.get("/{run_id}")
    def get_run(run_id: str) -> Run:
        """Tell where a run stands."""
        run = store.get(run_id)
        if run is None:
            raise RequestError(
                404, "path.run_id", expected="the id of a run", found=repr(run_id)[:200]
            )
        return run

    return router
