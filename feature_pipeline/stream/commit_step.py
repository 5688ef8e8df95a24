"""The step that commits to the offline tables: when it is due, and before a state is saved."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bytewax.operators import StatefulBatchLogic

from feature_pipeline.stream.advance_step import Changes
from feature_pipeline.stream.first_error import FirstError
from feature_pipeline.stream.writer import StoreWriter


class CommitLogic(StatefulBatchLogic[Changes, Changes, None]):
    """Holds the changes of a partition for a commit, and hands them on at once.

    It has no state to save. It is a stateful step since Bytewax asks these for their state at the
    end of an epoch, when all of its batches have come, and saves that of no step before all have
    answered: the moment at which rows must be committed.
    """

    def __init__(self, writer: StoreWriter, errors: FirstError) -> None:
        self._writer = writer
        self._errors = errors

    def on_batch(self, values: list[Changes]) -> tuple[Iterable[Changes], bool]:
        """Hold changes, and hand them on."""
        self._writer.hold(values)
        return values, StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[Changes], bool]:
        """Commit what all partitions hold, unless another one just did."""
        with self._errors:
            self._writer.commit_if_due()
            return [], StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        """Return when a commit is due."""
        return self._writer.due

    def snapshot(self) -> None:
        """Commit what is held: the state that has counted it is about to be saved."""
        with self._errors:
            self._writer.commit()
