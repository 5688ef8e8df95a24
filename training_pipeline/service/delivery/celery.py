"""Delivery by Celery: over Redis, or over a folder where there is no server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery import Celery, signals
from kombu.entity import Queue
from kombu.exceptions import KombuError

from shared.errors import StateError
from training_pipeline.service.runs.run import Run

TRAIN = "fti.train"
"""The only task there is; its one argument is the id of a run."""

_FOLDER = "training_pipeline.service.delivery.folder:Transport"
_CONNECT_SECONDS = 3
_POLL_SECONDS = 0.2


def celery_app(address: str, folder: Path) -> Celery:
    """Return the application. It connects when it is used.

    Args:
        address: ``redis://…``; empty: messages are files in the folder.
        folder: is made if it is needed.
    """
    # Logs are the project's own.
    signals.setup_logging.connect(_leave_logs_alone)
    if address:
        # Timeouts: whoever posts a run must not wait for a broker that hangs.
        options: dict[str, Any] = {
            "socket_connect_timeout": _CONNECT_SECONDS,
            "socket_timeout": 2 * _CONNECT_SECONDS,
            "socket_keepalive": True,
        }
    else:
        folder.mkdir(parents=True, exist_ok=True)
        options = {
            "data_folder_in": str(folder),
            "data_folder_out": str(folder),
            "polling_interval": _POLL_SECONDS,
        }
    app = Celery("fti_training", set_as_current=False)
    app.conf.update(
        broker_url=address or "filesystem://",
        broker_transport=None if address else _FOLDER,
        broker_transport_options=options,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # Nothing is unpickled, and what came of a run stands in the run store alone.
        accept_content=["json"],
        task_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        # A message goes when its run is done with. One that comes again finds nothing to claim.
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
        timezone="UTC",
    )
    return app


def queue_of(name: str) -> Queue:
    """Return the broker's queue for a queue of runs; several systems may share a broker's names."""
    full = f"fti.training.{name}"
    return Queue(full, exchange=full, routing_key=full)


class CeleryDelivery:
    """Sends messages through a Celery application."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def send(self, run: Run) -> None:
        """Tell the workers of the run's queue to look at it.

        Raises:
            StateError: the broker is away.
        """
        with _told(), self._app.connection_for_write() as connection:
            self._app.send_task(
                TRAIN,
                args=[run.run_id],
                queue=queue_of(run.queue),
                connection=connection,
                retry=False,
            )

    def check(self) -> None:
        """Raise StateError if the broker is away."""
        with _told(), self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=_CONNECT_SECONDS)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what brokers raise into an error that shows no address."""
    from redis import RedisError

    try:
        yield
    except (KombuError, RedisError, OSError) as error:
        raise StateError(
            "broker of training runs",
            expected="a broker that takes messages",
            found=type(error.__cause__ or error).__name__,
            remedy="See FTI_TRAINING_BROKER. No run is lost: it is sent when the broker is back.",
        ) from error


def _leave_logs_alone(**_: object) -> None:
    """Take the place of Celery's own set-up of logs."""
