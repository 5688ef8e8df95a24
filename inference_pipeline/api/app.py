"""The web application."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI

from inference_pipeline.api.body_limit import BodyLimit
from inference_pipeline.api.door import Door
from inference_pipeline.api.errors import add_error_handlers
from inference_pipeline.api.measuring import Measuring
from inference_pipeline.metrics import Metrics

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
"""Makes what is entered before the first request and left after the last."""


def create_app(
    *routers: APIRouter,
    lifespan: Lifespan,
    metrics: Metrics,
    max_body_bytes: int,
    check_capacity: Callable[[], None],
) -> FastAPI:
    """Return the application that serves some routes, measured and with bounded bodies.

    Args:
        routers: the routes.
        lifespan: makes what lives as long as the application does.
        metrics: of the server.
        max_body_bytes: longer bodies are refused.
        check_capacity: raises OverloadedError while predictions are to be turned away.
    """
    app = FastAPI(
        title="Inference pipeline",
        description="Predictions for mentions, with their features joined.",
        lifespan=lifespan,
    )
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes)
    app.add_middleware(Measuring, metrics=metrics)
    # Outermost: what is turned away costs nothing more, and has its own counter.
    app.add_middleware(Door, check_capacity=check_capacity, metrics=metrics.engine)
    add_error_handlers(app)
    for router in routers:
        app.include_router(router)
    return app
