"""Names of views, features and services, and the identity of what a model reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from shared.task import Task

Role = Literal["subject", "source"]
ROLES: tuple[Role, ...] = ("subject", "source")

SUBJECT_ACTIVITY = "subject_activity"
SOURCE_ACTIVITY = "source_activity"
MENTION_TEXT = "mention_text"
MENTION_LABEL = "mention_label"

KNOWN_AT = "event_timestamp"
"""The column that holds known_at. Feast's event timestamp of every row is its known_at."""

JUST_BEFORE = timedelta(microseconds=1)
"""A training row reads features as of this long before its mention was known, because serving
answers before the mention is ingested."""


def activity_view(role: Role) -> str:
    """Return the feature view that holds the activity of subjects or of sources."""
    return f"{role}_activity"


def join_key(role: Role) -> str:
    """Return the join key of an activity view."""
    return f"{role}_id"


def count_columns(task: Task) -> list[str]:
    """Return the integer features of an activity view, in order: mentions, labels per class."""
    return [
        name
        for window in task.activity.spans
        for name in (
            f"mentions_{window.name}",
            *(f"{label}_{window.name}" for label in task.labels),
        )
    ]


def share_columns(task: Task) -> list[str]:
    """Return the share features of an activity view: of the labels in the window, 0 to 1."""
    return [
        f"share_{label}_{window.name}" for window in task.activity.spans for label in task.labels
    ]


def model_columns(task: Task) -> list[str]:
    """Return what a model reads of each activity view: mention counts and label shares."""
    return [
        name
        for window in task.activity.spans
        for name in (
            f"mentions_{window.name}",
            *(f"share_{label}_{window.name}" for label in task.labels),
        )
    ]


def feature_service_name(task_name: str) -> str:
    """Return the Feast feature service that the models of a task read."""
    return task_name


@dataclass(frozen=True)
class ServedFeature:
    """One input of a model: a feature of a view, with Feast's name of its type."""

    view: str
    name: str
    dtype: str

    @property
    def column(self) -> str:
        """The feature's name where views are told apart, as in Feast's full feature names."""
        return f"{self.view}__{self.name}"


def service_hash(features: Sequence[ServedFeature]) -> str:
    """Return the SHA-256 of what a feature service serves: views, names and types, in order."""
    lines = "\n".join(f"{feature.view}:{feature.name}:{feature.dtype}" for feature in features)
    return hashlib.sha256(lines.encode()).hexdigest()
