"""The workspace: a folder for files in the making, gone when the run ends."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def workspace(training_home: Path) -> Iterator[Path]:
    """Give an empty folder and remove it at the end, however the end comes about."""
    making = training_home / "making"
    making.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=making, prefix="run-") as folder:
        yield Path(folder)
