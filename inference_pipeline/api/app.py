"""The web application."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI

from inference_pipeline.api.body_limit import BodyLimit
from inference_pipeline.api.errors import add_error_handlers
from inference_pipeline.api.measuring import Measuring
from inference_pipeline.metrics import Metrics

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
"""Makes what is entered before the first request and left after the last."""


def create_app(
    *routers: APIRouter, lifespan: Lifespan, metrics: Metrics, max_body_bytes: int
) -> FastAPI:
    """Return the application that serves some routes, measured and with bounded bodies."""
    app = FastAPI(
        title="Inference pipeline",
        description="Predictions for mentions, with their features joined.",
        lifespan=lifespan,
    )
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes)
    app.add_middleware(Measuring, metrics=metrics)
    add_error_handlers(app)
    for router in routers:
        app.include_router(router)
    return app
