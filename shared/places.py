"""Where the services meet: the addresses of the feature store's parts and of MLflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Places:
    """Addresses, each of a file or a folder of this machine or of a server.

    Those that may hold a password are left out of its text.
    """

    online_store: str = field(repr=False)
    """``sqlite:///path``, or ``redis://`` or ``rediss://`` with host, port and database."""
    feature_registry: str = field(repr=False)
    """Of an SQL database, as SQLAlchemy takes it."""
    offline_store: str
    """The folder of the Delta tables, one folder a feature view: a path, or ``s3://bucket/…``."""
    mlflow: str
    """MLflow's tracking and registry address: ``sqlite:///path``, or ``http(s)://`` of a server."""
    mlflow_artifacts: str | None
    """The folder in which MLflow keeps artefacts, as an address; None: its server decides."""

    @classmethod
    def embedded(cls, home: Path) -> Self:
        """Return the places of the embedded mode: files under FTI_HOME."""
        return cls(
            online_store=f"{_SQLITE}{home / 'feast' / 'online.db'}",
            feature_registry=f"{_SQLITE}{home / 'feast' / 'registry.db'}",
            offline_store=str(offline_folder(home)),
            mlflow=f"{_SQLITE}{home / 'mlflow' / 'mlflow.db'}",
            mlflow_artifacts=(home / "mlflow" / "artifacts").as_uri(),
        )


def offline_folder(home: Path) -> Path:
    """Return the folder of the Delta tables in the embedded mode."""
    return home / "offline"


def sqlite_path(address: str) -> Path | None:
    """Return the file of an SQLite address, None if it is another's."""
    return Path(address.removeprefix(_SQLITE)) if address.startswith(_SQLITE) else None


def make_folder_of(address: str) -> None:
    """Make the folder of an SQLite file, which SQLite itself does not."""
    if (path := sqlite_path(address)) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
