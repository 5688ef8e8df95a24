"""A dataset that stays the same from attempt to attempt, though the stream goes on writing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from shared.disk import write_whole
from shared.errors import StateError
from shared.task import Task
from training_pipeline.dataset import Dataset, DatasetSource

_VERSIONS = TypeAdapter(dict[str, int])


class PinnedDataset:
    """Reads tables at their latest versions once, notes these, and reads no others later."""

    def __init__(
        self, file: Path, open_source: Callable[[Mapping[str, int] | None], DatasetSource]
    ) -> None:
        """Take where versions are noted and how a source is made of them.

        Args:
            file: of JSON, each feature view's table version; missing before the first read.
            open_source: gives a source at these versions, at the latest for None.
        """
        self._file = file
        self._open_source = open_source

    def read(self, task: Task) -> Dataset:
        """Return all labelled mentions of a task, as the first attempt found them.

        Raises:
            StateError: as the source does; or the noted versions cannot be read or written.
        """
        versions = self._noted()
        dataset = self._open_source(versions).read(task)
        if versions is None:
            write_whole(self._file, _VERSIONS.dump_json(dict(dataset.versions)).decode())
        return dataset

    def _noted(self) -> dict[str, int] | None:
        try:
            return _VERSIONS.validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise StateError(
                f"table versions of an interrupted run, {self._file}",
                expected="a JSON object of each feature view's version",
                found="something else",
                remedy="Remove the file to read the latest versions.",
            ) from error
