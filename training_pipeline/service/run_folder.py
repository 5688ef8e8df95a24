"""What a run has on the disk: a folder of its own while it is not final, and its log."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from training_pipeline.result import TrainResult

RESULT_FILE = "result.json"


class RunFolder:
    """The files of a run. Workers on several machines share them by a shared file system."""

    def __init__(self, training_home: Path, run_id: str) -> None:
        self.path = training_home / "runs" / run_id
        """Checkpoints, files in the making, the result; gone when the run is final."""
        self.kept = training_home / "kept" / run_id
        """What was trained while the registry was away."""
        self.log = training_home / "logs" / f"{run_id}.log"
        self.result_file = self.path / RESULT_FILE

    def make(self) -> None:
        """Make the folders."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)

    def result(self) -> TrainResult | None:
        """Return what the run came to, None if it has not ended yet."""
        return result_in(self.result_file)

    def remove(self) -> None:
        """Remove all but the log, beside others who may do the same.

        Raises:
            OSError: something cannot be removed.
        """
        for folder in (self.path, self.kept):
            shutil.rmtree(folder, onerror=_missing_is_removed)


def _missing_is_removed(_call: object, _path: str, failure: tuple[Any, Any, Any]) -> None:
    error = failure[1]
    if not isinstance(error, FileNotFoundError):
        raise error


def result_in(file: Path) -> TrainResult | None:
    """Return the result that a file holds, None if there is none."""
    try:
        return TrainResult.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
