"""From Feast's terms to the join's: which columns of which tables a request is about."""

from __future__ import annotations

from datetime import UTC, datetime

from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.utils import (
    _get_requested_feature_views_to_features_dict,
    _get_requested_on_demand_feature_views,
    compute_non_entity_date_range,
)

from feast_polars_delta.changes import changes_between
from feast_polars_delta.entity_rows import read_entity_rows
from feast_polars_delta.errors import OfflineStoreError
from feast_polars_delta.location import source_location
from feast_polars_delta.opening import open_table
from feast_polars_delta.point_in_time import PointInTimeJoin, ViewColumns
from feast_polars_delta.retrieval_job import PolarsDeltaRetrievalJob
from feast_polars_delta.source_table import SourceTable
from feast_polars_delta.versions import Pin, check_pins, pin_of


def historical_features(
    config: RepoConfig,
    feature_views: list[FeatureView],
    feature_refs: list[str],
    entity_df: object,
    *,
    registry: BaseRegistry,
    project: str,
    full_feature_names: bool,
    known_only: bool,
    time_range: tuple[datetime | None, datetime | None],
) -> PolarsDeltaRetrievalJob:
    """Return a job for Feast's ``get_historical_features``.

    Raises:
        OfflineStoreError: the entity dataframe, a table or a pinned version does not fit.
    """
    check_pins(config, registry, project)
    requested, _ = _get_requested_feature_views_to_features_dict(
        feature_refs,
        feature_views,
        _get_requested_on_demand_feature_views(feature_refs, project, registry),
    )
    tables = _open_tables(config, list(requested))
    views = [
        _view_columns(
            view,
            features,
            tables[view.name],
            full_feature_names=full_feature_names,
            known_only=known_only,
        )
        for view, features in requested.items()
    ]
    if entity_df is None:
        start, end = compute_non_entity_date_range(feature_views, *time_range)
        entities = changes_between(start.astimezone(UTC), end.astimezone(UTC), views)
    else:
        entities = read_entity_rows(entity_df)
    return PolarsDeltaRetrievalJob(
        PointInTimeJoin(entities, views).collect,
        config=config,
        versions=_versions(tables),
        full_feature_names=full_feature_names,
        on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(
            feature_refs, project, registry
        ),
        metadata=RetrievalMetadata(
            features=feature_refs,
            keys=[name for name in entities.frame.columns if name != entities.timestamp],
            min_event_timestamp=entities.earliest,
            max_event_timestamp=entities.latest,
        ),
    )


def _open_tables(config: RepoConfig, views: list[FeatureView]) -> dict[str, SourceTable]:
    """Open the table of each view; views of one table read the same version of it."""
    opened: dict[tuple[str, Pin], SourceTable] = {}
    tables: dict[str, SourceTable] = {}
    for view in views:
        source = view.batch_source
        if source is None:
            raise OfflineStoreError(view.name, expected="a batch source", found="none")
        pin = pin_of(config, view.name, source.name)
        place = (source_location(config, source).uri, pin)
        if place not in opened:
            opened[place] = open_table(config, source, pin)
        tables[view.name] = opened[place]
    return tables


def _versions(tables: dict[str, SourceTable]) -> dict[str, int]:
    return {view: table.version for view, table in tables.items() if table.version is not None}


def _view_columns(
    view: FeatureView,
    features: list[str],
    table: SourceTable,
    *,
    full_feature_names: bool,
    known_only: bool,
) -> ViewColumns:
    source = view.batch_source
    if source is None:
        raise OfflineStoreError(view.name, expected="a batch source", found="none")
    column_of = {feature: column for column, feature in source.field_mapping.items()}
    created = source.created_timestamp_column
    prefix = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
    timestamp = column_of.get(source.timestamp_field, source.timestamp_field)
    return ViewColumns(
        table=table,
        keys={
            column_of.get(key.name, key.name): view.projection.join_key_map.get(key.name, key.name)
            for key in view.entity_columns
            if key.name != DUMMY_ENTITY_ID
        },
        features={f"{prefix}{feature}": column_of.get(feature, feature) for feature in features},
        timestamp=timestamp,
        created=column_of.get(created, created) if created else None,
        ttl=view.ttl or None,
        known_only=known_only,
    )
