"""From Feast's terms to the join's: which columns of which tables a request is about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.utils import (
    _get_requested_feature_views_to_features_dict,
    _get_requested_on_demand_feature_views,
)

from feast_polars_delta.entity_rows import PLACE, read_entity_rows
from feast_polars_delta.errors import OfflineStoreError
from feast_polars_delta.point_in_time import ViewColumns, join_views
from feast_polars_delta.retrieval_job import PolarsDeltaRetrievalJob
from feast_polars_delta.source_table import SourceTable, open_table


def historical_features(
    config: RepoConfig,
    feature_views: list[FeatureView],
    feature_refs: list[str],
    entity_df: object,
    *,
    registry: BaseRegistry,
    project: str,
    full_feature_names: bool,
    time_range: Mapping[str, datetime | None],
) -> PolarsDeltaRetrievalJob:
    """Return a job for Feast's ``get_historical_features``.

    Raises:
        OfflineStoreError: the entity dataframe, a table or a pinned version does not fit.
    """
    if entity_df is None:
        raise OfflineStoreError(
            PLACE,
            expected="a pandas DataFrame",
            found=f"none, but {', '.join(time_range) or 'no time range'}",
            remedy="This store joins to rows only; pull_all_from_table_or_query reads a range.",
        )
    entities = read_entity_rows(entity_df)
    requested, _ = _get_requested_feature_views_to_features_dict(
        feature_refs,
        feature_views,
        _get_requested_on_demand_feature_views(feature_refs, project, registry),
    )
    tables = _open_tables(config, list(requested))
    query = join_views(
        entities,
        [
            _view_columns(view, features, tables[view.name], full_feature_names=full_feature_names)
            for view, features in requested.items()
        ],
    )
    return PolarsDeltaRetrievalJob(
        query,
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
    """Open each view's table once, so that two aliases of a view read the same version."""
    pins: dict[str, int] = config.offline_store.versions
    tables: dict[str, SourceTable] = {}
    for view in views:
        if view.name not in tables:
            tables[view.name] = open_table(config, view.batch_source, pins.get(view.name))
    return tables


def _versions(tables: dict[str, SourceTable]) -> dict[str, int]:
    return {view: table.version for view, table in tables.items() if table.version is not None}


def _view_columns(
    view: FeatureView, features: list[str], table: SourceTable, *, full_feature_names: bool
) -> ViewColumns:
    source = view.batch_source
    if source is None:
        raise OfflineStoreError(view.name, expected="a batch source", found="none")
    column_of = {feature: column for column, feature in source.field_mapping.items()}
    created = source.created_timestamp_column
    prefix = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
    return ViewColumns(
        table=table,
        keys={
            column_of.get(key.name, key.name): view.projection.join_key_map.get(key.name, key.name)
            for key in view.entity_columns
            if key.name != DUMMY_ENTITY_ID
        },
        features={f"{prefix}{feature}": column_of.get(feature, feature) for feature in features},
        timestamp=column_of.get(source.timestamp_field, source.timestamp_field),
        created=column_of.get(created, created) if created else None,
        ttl=view.ttl or None,
    )
