"""The task's entities, feature views and feature service, as Feast keeps them in its registry."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from feature_pipeline.definition.transform import Tables, empty_tables
from feature_pipeline.store.offline_tables import OfflineTables
from shared.errors import StateError
from shared.features import (
    KNOWN_AT,
    MENTION_LABEL,
    MENTION_TEXT,
    ROLES,
    activity_view,
    count_columns,
    feature_service_name,
    model_columns,
    share_columns,
)
from shared.predictions import PREDICTION_VIEWS, prediction_entity, prediction_schema
from shared.task import Task

if TYPE_CHECKING:
    from feast import Entity, FeatureService, FeatureStore, FeatureView, Field

_TASK_TAG = "task"


def apply_task(
    task: Task, store: FeatureStore, tables: OfflineTables, *, anew: bool = False
) -> None:
    """Create or update what the task needs in the feature store, and its empty tables.

    Args:
        task: gives views and service.
        store: keeps them.
        tables: where the views' rows are.
        anew: forget the online rows, of which some keys may not come again. What inference wrote
            stays: it tells what was answered, whatever the features are now.

    Raises:
        StateError: the store belongs to another task.
    """
    _check_same_task(task, store)
    if anew and (outdated := store.list_feature_views()):
        store.apply([], objects_to_delete=[*outdated], partial=False)
        store.refresh_registry()
    tables.create_missing(empty_tables(task) | _empty_prediction_tables())
    store.apply([*definitions(task, tables)])
    store.refresh_registry()


def definitions(task: Task, tables: OfflineTables) -> list[Entity | FeatureView | FeatureService]:
    """Return all that the task has in the feature store, in an order that Feast can apply."""
    views = [*feature_views(task, tables), *prediction_views(task, tables)]
    return [*entities(), *views, feature_service(task, views)]


def entities() -> list[Entity]:
    """Return what features are about."""
    from feast import Entity, ValueType

    return [
        Entity(name=name, join_keys=[f"{name}_id"], value_type=ValueType.STRING)
        for name in (*ROLES, "mention", "prediction")
    ]


def feature_views(task: Task, tables: OfflineTables) -> list[FeatureView]:
    """Return the views of the task; the activity views first, in the order of the roles."""
    from feast import Field
    from feast.types import Float64, Int64, String, UnixTimestamp

    activity = [
        *(Field(name=name, dtype=Int64) for name in count_columns(task)),
        *(Field(name=name, dtype=Float64) for name in share_columns(task)),
        *(Field(name=name, dtype=UnixTimestamp) for name in ("first_seen", "last_seen")),
    ]
    text = [
        *(
            Field(name=name, dtype=String)
            for name in ("subject_id", "source_id", "text", "fingerprint", "language")
        ),
        Field(name="published_at", dtype=UnixTimestamp),
        *(
            Field(name=name, dtype=Int64)
            for name in ("characters", "words", "exclamations", "shouted_words")
        ),
    ]
    label = [
        Field(name="label", dtype=String),
        Field(name="labelled_at", dtype=UnixTimestamp),
        Field(name="annotator", dtype=String),
    ]
    # A window forgets a key after its horizon; a row older than twice that says nothing new.
    ttl = 2 * task.activity.horizon
    return [
        *(
            _view(task, tables, activity_view(role), entity=role, schema=activity, ttl=ttl)
            for role in ROLES
        ),
        _view(task, tables, MENTION_TEXT, entity="mention", schema=text),
        _view(task, tables, MENTION_LABEL, entity="mention", schema=label),
    ]


def prediction_views(task: Task, tables: OfflineTables) -> list[FeatureView]:
    """Return the views that inference writes; only offline, since no model reads them."""
    from feast import Field
    from feast.type_map import pa_to_feast_value_type
    from feast.types import from_value_type

    views = []
    for name in PREDICTION_VIEWS:
        entity = prediction_entity(name)
        schema = [
            Field(name=column.name, dtype=from_value_type(pa_to_feast_value_type(str(column.type))))
            for column in prediction_schema(name)
            if column.name not in {KNOWN_AT, f"{entity}_id"}
        ]
        views.append(_view(task, tables, name, entity=entity, schema=schema))
    return views


def feature_service(task: Task, views: list[FeatureView]) -> FeatureService:
    """Return what the models of the task read."""
    from feast import FeatureService

    activity = {activity_view(role) for role in ROLES}
    return FeatureService(
        name=feature_service_name(task.name),
        features=[view[model_columns(task)] for view in views if view.name in activity],
        tags={_TASK_TAG: task.name},
    )


def _view(
    task: Task,
    tables: OfflineTables,
    name: str,
    *,
    entity: str,
    schema: list[Field],
    ttl: timedelta = timedelta(0),
) -> FeatureView:
    """Return a view on a Delta table. Only activity is read online: one row a subject or source."""
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.data_format import DeltaFormat
    from feast.types import String

    key = f"{entity}_id"
    return FeatureView(
        name=name,
        entities=[Entity(name=entity, join_keys=[key], value_type=ValueType.STRING)],
        schema=[Field(name=key, dtype=String), *schema],
        source=FileSource(
            name=name,
            path=tables.path(name),
            timestamp_field=KNOWN_AT,
            file_format=DeltaFormat(),
        ),
        ttl=ttl,
        online=entity in ROLES,
        tags={_TASK_TAG: task.name},
    )


def _empty_prediction_tables() -> Tables:
    return {name: pl.DataFrame(prediction_schema(name).empty_table()) for name in PREDICTION_VIEWS}


def _check_same_task(task: Task, store: FeatureStore) -> None:
    found = {view.tags.get(_TASK_TAG) for view in store.list_feature_views()} - {None, task.name}
    if found:
        raise StateError(
            f"feature store, project {store.project}",
            expected=f"the features of task {task.name!r}",
            found=f"those of {', '.join(sorted(map(str, found)))!r}",
            remedy="Each task has its own FTI_HOME.",
        )
