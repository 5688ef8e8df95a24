"""Schedules of a task: when it is trained without anybody asking."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.cron import Cron


def _cron(text: str) -> str:
    Cron.parse(text)
    return text


QueueName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
"""Of runs that certain workers execute, such as those with a GPU."""


class Schedule(BaseModel):
    """A run that is asked for by the clock."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: Annotated[str, AfterValidator(_cron)]
    """When, in UTC; see ``shared.cron``."""
    reason: Annotated[str, Field(min_length=1, max_length=1_000)] = "asked for by the schedule"
    queue: QueueName = "default"
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Fields of the section ``training`` that are otherwise in these runs."""
