"""The online side of the feature store: the latest row of each key, through Feast."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from feast import FeatureStore

_CHUNK_ROWS = 1_000


class OnlineViews:
    """Writes to Feast's online store."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store

    def write(
        self,
        view: str,
        key: str,
        changelog: pl.DataFrame,
        on_rows: Callable[[int], object] = lambda _: None,
    ) -> int:
        """Write the last row of each key.

        Args:
            view: the feature view.
            key: its join key column.
            changelog: rows in order of time within each key.
            on_rows: told how many rows were written, as it goes.

        Returns:
            The number of keys written.

        Raises:
            ValueError: a row holds a null: Feast would keep the old value without a word.
        """
        latest = changelog.group_by(key, maintain_order=True).last()
        if any(latest.null_count().row(0)):
            raise ValueError(f"{view}: a null in {latest.null_count().to_dicts()}")
        for chunk in latest.iter_slices(_CHUNK_ROWS):
            self._store.write_to_online_store(view, df=chunk.to_pandas())
            on_rows(chunk.height)
        return latest.height
