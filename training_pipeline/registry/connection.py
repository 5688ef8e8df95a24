"""The connection to MLflow: its client, its errors as ours, and how long it is waited for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from shared.errors import StateError, UnavailableError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_RETRIES = "3"
"""Of a request that fails; with MLflow's pauses about 15 seconds. Its default are four minutes."""


def connect(tracking_uri: str) -> MlflowClient:
    """Return a client. In the embedded mode this makes MLflow's tables, if they are missing."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _RETRIES)
    from mlflow import MlflowClient

    with warnings.catch_warnings():
        # MLflow sets up its tables in a way that its database library deprecates.
        warnings.filterwarnings("ignore", message="The ``noload``", category=DeprecationWarning)
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def open_experiment(client: MlflowClient, name: str, artifact_root: str | None) -> str:
    """Return the id of an experiment, which is made or brought back if need be.

    Args:
        client: of MLflow.
        name: the task's.
        artifact_root: where a new one keeps artefacts; None: the server decides.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifact_location=artifact_root))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


@contextmanager
def registry_errors(expected: str, remedy: str) -> Iterator[None]:
    """Turn whatever MLflow and the database behind it raise, errors of their own, into ours.

    Raises:
        UnavailableError: the registry is away, or has a fault.
        StateError: it refuses what was asked.
    """
    try:
        yield
    except StateError:
        raise
    except Exception as error:
        raise (UnavailableError if _is_passing(error) else StateError)(
            "model registry",
            expected=expected,
            found=type(error).__name__,
            remedy=remedy,
        ) from error


def _is_passing(error: Exception) -> bool:
    """Tell whether the same request may be answered later: all but what MLflow itself refuses."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return True
    status: int = error.get_http_status_code()  # type: ignore[no-untyped-call]  # MLflow leaves it
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS


def quoted(text: str) -> str:
    """Return a text as MLflow's filters take it.

    Raises:
        StateError: it holds a quote, which they have no way to write.
    """
    if "'" in text:
        raise StateError("model registry", expected="a name without quotes", found=text)
    return f"'{text}'"
