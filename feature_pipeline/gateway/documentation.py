"""What the OpenAPI document tells of the routes, which read their bodies by hand."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from feature_pipeline.gateway.batch import Kind
from shared.events import Label, Mention


class ErrorDetail(BaseModel):
    """Where something is wrong, what should be there, what is, and what to do."""

    place: str
    expected: str
    found: str
    remedy: str


class ErrorAnswer(BaseModel):
    """The answer to a request of which nothing was taken."""

    error: ErrorDetail


class RejectedItem(BaseModel):
    """An item that does not fit; it is kept as a dead letter."""

    index: int
    mention_id: str | None
    error: ErrorDetail


class BatchAnswer(BaseModel):
    """What became of the items of a batch."""

    accepted: int
    duplicates: int
    rejected: list[RejectedItem]


_READ_OFF = frozenset({"subject_id", "source_id"})
"""What need not be posted: it is read off the text by the task's rules."""

_RETRY_AFTER = {
    "description": "Seconds after which to try again",
    "schema": {"type": "integer", "minimum": 1},
}
_REFUSALS = {
    400: "The body is no batch; it is kept as a dead letter",
    401: "There is no bearer token, or it is unknown",
    403: "The token does not allow it",
    408: "The body did not come in time",
    413: "The body is too large",
    415: "The body is compressed",
    429: "The client posts faster than it may",
    503: "The stream is behind, or the log or the dead letters take nothing at the moment",
}
_LATER = frozenset({429, 503})


def post_responses() -> dict[int | str, dict[str, Any]]:
    """Return the answers to a posted batch, beside 202."""
    answers: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorAnswer, "description": told} for status, told in _REFUSALS.items()
    }
    for status in _LATER:
        answers[status]["headers"] = {"Retry-After": _RETRY_AFTER}
    return {**answers, 422: {"model": BatchAnswer, "description": "No item of the batch fits"}}


def post_body(kind: Kind, max_items: int) -> dict[str, Any]:
    """Return what the OpenAPI document tells of a posted body."""
    item = (Mention if kind == "mentions" else Label).model_json_schema()
    item["required"] = [name for name in item["required"] if name not in _READ_OFF]
    for name in _READ_OFF & item["properties"].keys():
        item["properties"][name] = {"anyOf": [item["properties"][name], {"type": "null"}]}
    schema = {
        "type": "object",
        "properties": {
            kind: {"type": "array", "items": item, "minItems": 1, "maxItems": max_items}
        },
        "required": [kind],
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
