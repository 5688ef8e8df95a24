"""A Feast offline store that joins with Polars over Delta and Parquet tables.

``import feast_polars_delta`` alone loads nothing else: Feast resolves the class path of the offline
store in every process that opens a feature store, those that only read online features included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast_polars_delta.errors import OfflineStoreError
    from feast_polars_delta.offline_store import (
        PolarsDeltaOfflineStore,
        PolarsDeltaOfflineStoreConfig,
    )
    from feast_polars_delta.retrieval_job import PolarsDeltaRetrievalJob
    from feast_polars_delta.versions import pinned

__all__ = [
    "OfflineStoreError",
    "PolarsDeltaOfflineStore",
    "PolarsDeltaOfflineStoreConfig",
    "PolarsDeltaRetrievalJob",
    "pinned",
]

_MODULE_OF = {
    "OfflineStoreError": "errors",
    "PolarsDeltaOfflineStore": "offline_store",
    "PolarsDeltaOfflineStoreConfig": "offline_store",
    "PolarsDeltaRetrievalJob": "retrieval_job",
    "pinned": "versions",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
