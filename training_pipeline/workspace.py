"""The workspace: a folder for files in the making, gone when the run ends."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def workspace(training_home: Path) -> Iterator[Path]:
    """Give an empty folder and remove it at the end, however the end comes about."""
    making = training_home / "making"
    making.mkdir(parents=True, exist_ok=True)
    _sweep(making)
    with tempfile.TemporaryDirectory(dir=making, prefix=f"run-{os.getpid()}-") as folder:
        yield Path(folder)


def _sweep(making: Path) -> None:
    """Remove what killed runs left behind: folders whose process is gone."""
    for folder in making.glob("run-*-*"):
        try:
            os.kill(int(folder.name.split("-")[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder)
        except PermissionError:
            continue  # it lives, as another user
