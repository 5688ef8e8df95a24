"""Where model versions and training runs are kept: MLflow, on SQLite or as a server."""

from __future__ import annotations

import logging
import os

from shared.places import Places, make_folder_of


def tracking_uri(places: Places) -> str:
    """Return MLflow's tracking and registry address, ready to be opened."""
    make_folder_of(places.mlflow)
    return places.mlflow


def quiet_mlflow() -> None:
    """Switch off MLflow's telemetry, progress bars and own log format, unless somebody chose.

    MLflow reads these when it is imported, so this comes before. What its database refuses it logs
    with a hundred frames of traceback before it raises it; the line stays, the frames go.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    logging.getLogger("mlflow.store.db.utils").addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True
