"""The routes for those who watch the service: life, readiness, metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from training_pipeline.service.api.metrics import ServiceMetrics
from training_pipeline.service.api.readiness import Readiness


def probe_routes(metrics: ServiceMetrics, readiness: Readiness) -> APIRouter:
    """Return the routes. Those that read files are plain functions, and so run in threads."""
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "alive"}

    @router.get("/readyz")
    def readyz() -> JSONResponse:
        """Say whether runs are taken, whether they wait then, and why."""
        found = readiness.look()
        return JSONResponse(
            {
                "ready": not found.refused,
                "degraded": bool(found.refused or found.waiting),
                "reasons": [*found.refused, *found.waiting],
            },
            status_code=503 if found.refused else 200,
        )

    @router.get("/metrics")
    def exposition() -> Response:
        """Return metrics for Prometheus."""
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return router
