"""The routes of training runs: ask for one, look at one, list them, cancel one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Response

from training_pipeline.service.api.http_errors import RequestError
from training_pipeline.service.api.run_requests import (
    Accepted,
    RunList,
    RunRequest,
    check_request,
    check_same,
)
from training_pipeline.service.dispatch import Dispatch
from training_pipeline.service.runs.run import Run, RunState, new_run
from training_pipeline.service.runs.store import RunStore
from training_pipeline.service.runs.transitions import cancel

_RUN_ID = re.compile(r"[0-9a-f]{32}")


def run_routes(task_name: str, task_file: Path, store: RunStore, dispatch: Dispatch) -> APIRouter:
    """Return the routes. They are plain functions: the store blocks, so they run in threads."""
    router = APIRouter(prefix="/v1/runs")

    @router.post("", status_code=202)
    def post_run(asked: RunRequest, response: Response) -> Accepted:
        """Ask for a training run."""
        check_request(asked, task_file, task_name)
        now = datetime.now(UTC)
        made = new_run(asked.reason, now, queue=asked.queue, overrides=asked.overrides)
        key = None if asked.idempotency_key is None else f"request {asked.idempotency_key}"
        run = dispatch.post(made, now, idempotency_key=key)
        check_same(asked, run)
        response.headers["Location"] = f"/v1/runs/{run.run_id}"
        return Accepted(run_id=run.run_id, state=run.state)

    @router.get("")
    def list_runs(
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100, state: RunState | None = None
    ) -> RunList:
        """List runs, newest first."""
        return RunList(runs=store.newest(limit, state))

    @router.get("/{run_id}")
    def get_run(run_id: str) -> Run:
        """Tell where a run stands."""
        return known(store, run_id)

    @router.delete("/{run_id}", status_code=202)
    def cancel_run(run_id: str) -> Accepted:
        """End a run: at once if it waits, within seconds if a worker has it."""
        now = datetime.now(UTC)
        known(store, run_id)
        run = store.change(run_id, cancel(now), now)
        if run is None:
            run = known(store, run_id)
            if run.state is not RunState.CANCELLING:
                late = run.registration_begun and not run.final
                raise RequestError(
                    409,
                    "path.run_id",
                    expected="a run that can still be cancelled",
                    found=f"one that is {'being registered' if late else run.state}",
                    remedy="What is registered stays registered.",
                )
        return Accepted(run_id=run.run_id, state=run.state)

    return router


def known(store: RunStore, run_id: str) -> Run:
    """Return a run.

    Raises:
        RequestError: there is none of that id.
    """
    run = store.get(run_id) if _RUN_ID.fullmatch(run_id) else None
    if run is None:
        raise RequestError(404, "path.run_id", expected="the id of a run", found=repr(run_id)[:200])
    return run
