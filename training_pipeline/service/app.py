"""The HTTP interface of the training service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from shared.body_limit import BodyLimit
from training_pipeline.service.http_errors import install_error_handlers, refuse
from training_pipeline.service.metrics import ServiceMetrics
from training_pipeline.service.probe_routes import probe_routes
from training_pipeline.service.readiness import Readiness
from training_pipeline.service.run_routes import run_routes
from training_pipeline.service.runs import RunStore
from training_pipeline.service.worker import Worker

MAX_BODY_BYTES = 16_384


def create_app(
    *,
    task_name: str,
    store: RunStore,
    worker: Worker,
    metrics: ServiceMetrics,
    readiness: Readiness,
) -> FastAPI:
    """Return the application. The worker lives as long as the application does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001 - FastAPI's
        await run_in_threadpool(worker.start)
        yield
        await run_in_threadpool(worker.stop)

    app = FastAPI(title="FTI training pipeline", lifespan=lifespan)
    app.include_router(run_routes(task_name, store, worker))
    app.include_router(probe_routes(metrics, readiness))
    install_error_handlers(app)
    app.add_middleware(
        BodyLimit, max_bytes=MAX_BODY_BYTES, refuse=refuse, remedy="Give a shorter reason."
    )

    @app.middleware("http")
    async def count(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await answer(request)
        route = getattr(request.scope.get("route"), "path", "none")
        metrics.request_answered(request.method, route, response.status_code)
        return response

    return app
