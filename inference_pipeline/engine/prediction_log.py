"""Where the engine tells its answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from inference_pipeline.engine.answer import Answer, Question


class PredictionLog(Protocol):
    """Where answers are told."""

    def offer(
        self,
        answer: Answer,
        questions: Sequence[Question],
        asked_at: datetime,
        request_id: str | None = None,
    ) -> None:
        """Take note of an answer, or count it as dropped. Never blocks, never raises."""


class NoPredictionLog:
    """Takes note of nothing."""

    def offer(
        self,
        answer: Answer,
        questions: Sequence[Question],
        asked_at: datetime,
        request_id: str | None = None,
    ) -> None:
        """Let an answer go."""
