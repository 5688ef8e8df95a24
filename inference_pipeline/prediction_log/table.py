"""Where predictions are written: the tables of the feature store's prediction views.

A commit carries marks beside its rows (Delta application transactions): a writer that comes back
after a crash reads its marks and knows what is written, so no row stands twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from shared.errors import StateError
from shared.predictions import PredictionView

if TYPE_CHECKING:
    from feast import FeatureStore


class PredictionStoreError(StateError):
    """The table of a prediction view cannot be read or written; trying again later may help."""


class PredictionTable(Protocol):
    """What the writers of predictions need of the feature store. Called by one thread at a time."""

    def append(self, rows: pa.Table, marks: Mapping[str, int]) -> None:
        """Append rows and set marks, all of it or nothing.

        Raises:
            PredictionStoreError: the store did not take them, as far as one can tell.
        """

    def mark(self, name: str) -> int | None:
        """Return a mark as the table has it now, None if it was never set.

        Raises:
            PredictionStoreError: the store does not answer.
        """


@dataclass(frozen=True)
class TableLocation:
    """Where a feature view's Delta table is, and what its object store must be told."""

    uri: str
    storage_options: dict[str, str]


def locate_table(store: FeatureStore, view: str) -> TableLocation:
    """Return where Feast's registry says that the table of a view is.

    Raises:
        PredictionStoreError: there is no such view, or the registry cannot be read.
    """
    from feast import FileSource
    from feast.errors import FeastObjectNotFoundException

    try:
        found = store.get_feature_view(view)
    except FeastObjectNotFoundException:
        raise PredictionStoreError(
            f"feature store, project {store.project}",
            expected=f"a feature view {view}",
            found="none of that name",
            remedy="Start the feature pipeline of the task once: it makes what is missing.",
        ) from None
    except Exception as error:  # the registry's database raises what its driver raises
        raise _unanswered(view, error) from error
    source = found.batch_source
    if not isinstance(source, FileSource):
        raise PredictionStoreError(
            f"feature view {view}", expected="a Delta table", found=type(source).__name__
        )
    return TableLocation(source.path, dict(store.config.offline_store.storage_options))


class DeltaPredictionTable:
    """The Delta table that Feast reads a prediction view from."""

    def __init__(self, store: FeatureStore, view: PredictionView) -> None:
        """Connect to nothing yet: the first call does, and may fail and be tried again."""
        self._store = store
        self._view = view

    @cached_property
    def _location(self) -> TableLocation:
        return locate_table(self._store, self._view)

    def append(self, rows: pa.Table, marks: Mapping[str, int]) -> None:
        """Append rows and set marks in one commit."""
        from deltalake import CommitProperties, Transaction, write_deltalake

        location = self._location
        transactions = [Transaction(name, value) for name, value in marks.items()]
        try:
            write_deltalake(
                location.uri,
                rows,
                mode="append",
                storage_options=location.storage_options,
                commit_properties=CommitProperties(app_transactions=transactions),
            )
        except Exception as error:  # Delta's, Arrow's and the object store's errors share no base
            raise _unanswered(self._view, error) from error

    def mark(self, name: str) -> int | None:
        """Return a mark, read from the table anew."""
        from deltalake import DeltaTable

        location = self._location
        try:
            return DeltaTable(
                location.uri, storage_options=location.storage_options
            ).transaction_version(name)
        except Exception as error:  # as above
            raise _unanswered(self._view, error) from error


class InMemoryPredictionTable:
    """A prediction view in a list, for tests and trials without a store."""

    def __init__(self) -> None:
        self.commits: list[pa.Table] = []
        self._marks: dict[str, int] = {}

    def append(self, rows: pa.Table, marks: Mapping[str, int]) -> None:
        """Append rows and set marks."""
        self.commits.append(rows)
        self._marks |= marks

    def mark(self, name: str) -> int | None:
        """Return a mark."""
        return self._marks.get(name)


def _unanswered(view: str, error: Exception) -> PredictionStoreError:
    return PredictionStoreError(
        f"feature store, table of {view}",
        expected="a table that answers",
        found=type(error).__name__,
        remedy="It is tried again; the log tells more.",
    )
