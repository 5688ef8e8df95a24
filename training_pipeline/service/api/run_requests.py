"""Requests to train: what a body may say, held against the task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.errors import TaskError
from shared.schedules import QueueName
from shared.task import load_task
from training_pipeline.service.api.http_errors import RequestError
from training_pipeline.service.runs.run import Run, RunState


def _without_zero_bytes(text: str) -> str:
    if "\0" in text:  # Postgres takes none
        raise ValueError("a text without zero bytes")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("a text that is not blank")
    return text


IdempotencyKey = Annotated[
    str, Field(min_length=1, max_length=200), AfterValidator(_without_zero_bytes)
]
Reason = Annotated[
    str, Field(max_length=1_000), AfterValidator(_not_blank), AfterValidator(_without_zero_bytes)
]


class RunRequest(BaseModel):
    """A request to train."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason
    """Kept with the run and with the model version."""
    task: str | None = None
    """If given, it must be the task that this service trains."""
    queue: QueueName = "default"
    """Workers that listen on it execute the run."""
    overrides: dict[str, Any] = {}
    """Fields of the task's section ``training`` that are otherwise in this run."""
    idempotency_key: IdempotencyKey | None = None
    """The same key never makes a second run."""


class Accepted(BaseModel):
    """A run that was taken, or had been taken before under the same key."""

    run_id: str
    state: RunState


class RunList(BaseModel):
    """Runs, newest first."""

    runs: list[Run]


def check_request(asked: RunRequest, task_file: Path, task_name: str) -> None:
    """Return if a request fits the task.

    Raises:
        RequestError: it is about another task, or a field of ``overrides`` is unknown or of no
            use; the error names it. Or the task file itself cannot be read now.
    """
    if asked.task is not None and asked.task != task_name:
        raise RequestError(
            422,
            "body.task",
            expected=f"{task_name!r}, the task of this service",
            found=repr(asked.task)[:200],
        )
    if asked.overrides:
        _check_overrides(asked.overrides, task_file)


def check_same(asked: RunRequest, run: Run) -> None:
    """Return if a run is what is asked for with its key once more.

    Raises:
        RequestError: the key was given with something else.
    """
    given = {"reason": asked.reason, "queue": asked.queue, "overrides": asked.overrides}
    differing = [name for name, value in given.items() if getattr(run, name) != value]
    others = [f"{'other' if name == 'overrides' else 'another'} {name}" for name in differing]
    if differing:
        raise RequestError(
            409,
            "body.idempotency_key",
            expected="the same request as when the key was first given",
            found=" and ".join(others),
            remedy=f"Give another key; /v1/runs/{run.run_id} is the first request's run.",
        )


def _check_overrides(overrides: Mapping[str, Any], task_file: Path) -> None:
    try:
        load_task(task_file)
    except TaskError:
        raise RequestError(
            503,
            "task file",
            expected="a task to hold the overrides against",
            found="one that cannot be read",
            remedy="/readyz tells when it can.",
        ) from None
    try:
        load_task(task_file, overrides)
    except RecursionError:
        raise RequestError(
            422, "body.overrides", expected="fields of [training]", found="levels without end"
        ) from None
    except TaskError as error:
        field = error.place.removeprefix(f"{task_file}, training").removeprefix(".")
        place = f"body.overrides.{field}" if field else "body.overrides"
        raise RequestError(422, place, expected=error.expected, found=error.found) from None
