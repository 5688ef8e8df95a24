"""From answers of the engine to rows of the feature store's prediction views. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isnan
from typing import Any
from uuid import uuid4

import pyarrow as pa

from inference_pipeline.engine.answer import Answer, Prediction, Question
from shared.features import KNOWN_AT
from shared.predictions import MENTION_PREDICTION, PREDICTION_LOG, prediction_schema
from shared.text import fingerprint, normalise


@dataclass(frozen=True)
class Answered:
    """A request with its answer."""

    answer: Answer
    questions: Sequence[Question]
    asked_at: datetime
    answered_at: datetime
    request_id: str | None = None


def logged_rows(requests: Sequence[Answered], *, texts: bool = True) -> pa.Table:
    """Return rows of ``prediction_log``, one for each prediction; rows that failed have none.

    Args:
        requests: with their answers.
        texts: False leaves them out; their fingerprints stay.
    """
    rows = []
    for request in requests:
        # Not the request's own id: clients choose it, and choose it twice.
        unique = uuid4().hex
        for number, prediction in enumerate(request.answer.predictions):
            if not isinstance(prediction, Prediction):
                continue
            text = normalise(request.questions[number].text)
            rows.append(
                {
                    "prediction_id": f"{unique}-{number}",
                    "request_id": request.request_id,
                    "text": text if texts else None,
                    "fingerprint": fingerprint(text),
                    **_values(request, prediction),
                }
            )
    return pa.Table.from_pylist(rows, schema=prediction_schema(PREDICTION_LOG))


def mention_rows(request: Answered, mention_ids: Sequence[str]) -> pa.Table:
    """Return rows of ``mention_prediction``, one for each mention that has a prediction."""
    rows = [
        {"mention_id": mention_id, **_values(request, prediction)}
        for mention_id, prediction in zip(mention_ids, request.answer.predictions, strict=True)
        if isinstance(prediction, Prediction)
    ]
    return pa.Table.from_pylist(rows, schema=prediction_schema(MENTION_PREDICTION))


def no_mention_rows() -> pa.Table:
    """Return ``mention_prediction`` without rows."""
    return prediction_schema(MENTION_PREDICTION).empty_table()


def _values(request: Answered, prediction: Prediction) -> dict[str, Any]:
    answer, views = request.answer, prediction.views
    return {
        KNOWN_AT: request.answered_at,
        "subject_id": prediction.subject_id,
        "source_id": prediction.source_id,
        "model": answer.version.name,
        "version": answer.version.version,
        "alias": answer.alias,
        "variant": answer.variant,
        "label": prediction.label,
        "labels": list(prediction.probabilities),
        "probabilities": list(prediction.probabilities.values()),
        "feature_names": list(prediction.features),
        "feature_values": [
            None if isnan(value) else value for value in prediction.features.values()
        ],
        "view_names": list(views),
        "view_statuses": [state.status for state in views.values()],
        "view_ages": [state.age_seconds for state in views.values()],
        "degraded": prediction.degraded,
        "latency_seconds": (request.answered_at - request.asked_at).total_seconds(),
    }
