"""The feature store as a Bytewax sink, opened once per worker."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from bytewax.outputs import DynamicSink, StatelessSinkPartition

from feature_pipeline.stream.advance_step import Changes
from feature_pipeline.stream.first_error import FirstError
from feature_pipeline.stream.writer import StoreWriter

KeyedChanges = tuple[str, Changes]


class OnlinePartition(StatelessSinkPartition[KeyedChanges]):
    """Writes what comes to the online store."""

    def __init__(self, writer: StoreWriter, errors: FirstError) -> None:
        self._writer = writer
        self._errors = errors

    def write_batch(self, items: list[KeyedChanges]) -> None:
        """Write the changes of some partitions."""
        with self._errors:
            self._writer.write_online([changes for _, changes in items])


class FeatureStoreSink(DynamicSink[KeyedChanges]):
    """The end of the dataflow; the step that commits writes with the same writer."""

    def __init__(self, open_writer: Callable[[], StoreWriter]) -> None:
        self.errors = FirstError()
        self._open_writer = open_writer

    @cached_property
    def writer(self) -> StoreWriter:
        """The writer of this process, which opens the store when it is first asked for."""
        with self.errors:
            return self._open_writer()

    def build(self, step_id: str, worker_index: int, worker_count: int) -> OnlinePartition:  # noqa: ARG002 - Bytewax's signature
        """Return the worker's end."""
        return OnlinePartition(self.writer, self.errors)
