"""Reading through Feast's offline store, its errors in words for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from shared.errors import FtiError, StateError
from shared.feature_store import registry_errors
from shared.features import KNOWN_AT

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView


def registered_view(store: FeatureStore, name: str) -> FeatureView:
    """Return a feature view.

    Raises:
        StateError: there is none of that name.
        FeatureRegistryError: the registry is damaged or away.
    """
    from feast.errors import FeatureViewNotFoundException

    try:
        with registry_errors(store):
            return store.get_feature_view(name)
    except FeatureViewNotFoundException:
        raise StateError(
            f"feature store, project {store.project}",
            expected=f"a feature view {name!r}",
            found="none of that name",
            remedy="Run `python -m feature_pipeline backfill`, or start the stream worker once.",
        ) from None


def read_between(
    store: FeatureStore, view: str, columns: list[str], start: datetime, end: datetime
) -> pl.DataFrame:
    """Return the rows of a view that were known from start to end, both included.

    Returns:
        The join key, the columns and KNOWN_AT.

    Raises:
        StateError: the view is not there, or its rows cannot be read.
    """
    found = registered_view(store, view)
    if found.batch_source is None:
        raise StateError(f"feature view {view}", expected="a table of its rows", found="none")
    with reading(view):
        job = store.provider.offline_store.pull_all_from_table_or_query(
            config=store.config,
            data_source=found.batch_source,
            join_key_columns=found.join_keys,
            feature_name_columns=columns,
            timestamp_field=KNOWN_AT,
            created_timestamp_column=None,
            start_date=start,
            end_date=end,
        )
        return pl.DataFrame(job.to_arrow())


@contextmanager
def reading(view: str) -> Iterator[None]:
    """Turn whatever the offline store raises, a plug-in with errors of its own, into ours."""
    try:
        yield
    except FtiError:
        raise
    except Exception as error:
        raise StateError(
            f"feature store, history of {view}",
            expected="rows that can be read",
            found=f"{type(error).__name__}: {error}",
        ) from error
