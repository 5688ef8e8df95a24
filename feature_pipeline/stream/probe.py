"""The stream worker's HTTP face: whether it gets on, and its figures."""

from __future__ import annotations

import socket
import threading
from datetime import timedelta

import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.stream.metrics import StreamMetrics
from shared.errors import FtiError, StateError
from shared.http_protocol import BoundedHeads
from shared.logs import get_logger

_log = get_logger(__name__)


def create_probe(
    metrics: StreamMetrics, log: EventLog, *, stall: timedelta, epoch: timedelta
) -> FastAPI:
    """Return the application.

    Args:
        metrics: what the dataflow tells of itself.
        log: tells what waits; asked by threads of the application.
        stall: how long the dataflow may stand still and count as ready.
        epoch: how often it saves its state when all is well.
    """
    app = FastAPI(title="Stream worker", version="1")
    backlog = Gauge(
        "fti_features_log_lag_entries",
        "Entries of the log that are not in the saved state yet; NaN: the log does not answer",
        registry=metrics.registry,
    )

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        """The dataflow turns, and what waits in the log gets into the store."""
        reasons = _reasons(metrics, _waiting(log), stall, epoch)
        return JSONResponse(
            {"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200
        )

    @app.get("/metrics")
    def get_metrics() -> Response:
        """Figures for Prometheus."""
        waiting = _waiting(log)
        backlog.set(float("nan") if waiting is None else waiting)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


class Probe:
    """Serves an application from a thread while the context lasts."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._host = host
        self._port = port
        # Its own signal handlers are left out: uvicorn sets them in the main thread only.
        self._server = uvicorn.Server(
            uvicorn.Config(app, http=BoundedHeads, log_config=None, access_log=False)
        )
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Probe:
        """Listen.

        Raises:
            StateError: the port is taken, or the host is none of this machine.
        """
        listening = self._listen()
        self._thread = threading.Thread(
            target=self._server.run, args=([listening],), name="probe", daemon=True
        )
        self._thread.start()
        _log.info("probe listens", host=self._host, port=self._port)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and wait for the thread."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()

    def _listen(self) -> socket.socket:
        try:
            family = socket.getaddrinfo(self._host, self._port)[0][0]
            return socket.create_server((self._host, self._port), family=family)
        except OSError as error:
            raise StateError(
                "environment variables FTI_FEATURES_STREAM_HOST, FTI_FEATURES_STREAM_PORT",
                expected="an address of this machine that is free",
                found=f"{self._host}, {self._port}: {error.strerror}",
                remedy="Give each stream worker a port of its own.",
            ) from error


def _waiting(log: EventLog) -> int | None:
    """Return the entries that wait; None when the log does not answer."""
    try:
        return log.backlog()
    except FtiError as error:
        _log.warning("the event log does not answer the probe", error=str(error))
        return None


def _reasons(
    metrics: StreamMetrics, waiting: int | None, stall: timedelta, epoch: timedelta
) -> list[str]:
    """Return why the worker is not ready; nothing when it is."""
    still = metrics.since_turned()
    if still is None:
        return ["the dataflow has not started yet"]
    reasons = []
    if waiting is None:
        reasons.append("the event log does not answer")
    if still > stall.total_seconds():
        reasons.append(f"the dataflow stands still since {still:.0f} s")
    unsaved = metrics.since_saved()
    if waiting and unsaved > (stall + epoch).total_seconds():
        reasons.append(f"{waiting} log entries wait; no state was saved for {unsaved:.0f} s")
    return reasons
