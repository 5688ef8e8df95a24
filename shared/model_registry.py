"""Where model versions and training runs are kept in the embedded mode: MLflow on SQLite."""

from __future__ import annotations

import os
from pathlib import Path


def tracking_uri(home: Path) -> str:
    """Return MLflow's tracking and registry address under FTI_HOME (its file store is retired)."""
    folder = home / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}"


def artifact_root(home: Path) -> str:
    """Return the folder in which MLflow keeps artefacts under FTI_HOME, as an address."""
    return (home / "mlflow" / "artifacts").as_uri()


def quiet_mlflow() -> None:
    """Switch off MLflow's telemetry, progress bars and own log format, unless somebody chose.

    MLflow reads these when it is imported, so this comes before.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
