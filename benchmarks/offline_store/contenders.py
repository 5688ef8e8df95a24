"""Who takes part: how each is made ready, and which failures of it are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import pandas as pd
import pyarrow as pa

from benchmarks.offline_store.tables import Tables

Join = Callable[[pd.DataFrame], pa.Table]
"""Takes the label rows as pandas, returns them with all features as Arrow."""

_THIS_STORE = "feast_polars_delta.PolarsDeltaOfflineStore"


@dataclass(frozen=True)
class Contender:
    """One way to do the join."""

    name: str
    title: str
    open: Callable[[Tables], Join]
    """Loads its libraries and opens the tables; is not part of the join."""
    peer: bool = False
    """Someone else's store: that it passes a limit or returns wrong rows is a result."""
    needs: str | None = None
    """The module without which it cannot run."""

    @property
    def installed(self) -> bool:
        """Whether what it needs is there."""
        return self.needs is None or find_spec(self.needs) is not None


def _bare(tables: Tables) -> Join:
    from benchmarks.offline_store.bare import join_bare

    return lambda labels: join_bare(tables, labels)


def _through_feast(offline_store: str, *, delta: bool = False) -> Callable[[Tables], Join]:
    def open_it(tables: Tables) -> Join:
        from benchmarks.offline_store.feast_repo import join_through_feast, open_repository

        store = open_repository(tables, offline_store, delta=delta)
        return lambda labels: join_through_feast(store, labels)

    return open_it


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("bare", "bare Polars", _bare),
        Contender("parquet", "this store, Parquet", _through_feast(_THIS_STORE)),
        Contender("delta", "this store, Delta", _through_feast(_THIS_STORE, delta=True)),
        Contender(
            "duckdb", "Feast's DuckDB store", _through_feast("duckdb"), peer=True, needs="ibis"
        ),
        Contender("dask", "Feast's Dask store", _through_feast("dask"), peer=True),
    )
}
