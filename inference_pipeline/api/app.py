"""The web application."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI
from opentelemetry.trace import TracerProvider

from inference_pipeline.api.errors import add_error_handlers
from inference_pipeline.http.access import scope_needed
from inference_pipeline.http.door import Door
from inference_pipeline.http.guarded_app import GuardedApp
from inference_pipeline.http.measuring import Measuring
from inference_pipeline.http.path_check import PathCheck
from inference_pipeline.http.refusal import refuse
from inference_pipeline.http.tracing import UNTRACED, Tracing
from inference_pipeline.metrics import Metrics
from shared.bearer import BearerTokens
from shared.body_limit import BodyLimit
from shared.tokens import TokenBook

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
"""Makes what is entered before the first request and left after the last."""


def create_app(
    *routers: APIRouter,
    lifespan: Lifespan,
    metrics: Metrics,
    max_body_bytes: int,
    check_capacity: Callable[[], None],
    tokens: TokenBook | None = None,
    traces: TracerProvider | None = None,
) -> FastAPI:
    """Return the application that serves some routes, measured and with bounded bodies.

    Args:
        routers: the routes.
        lifespan: makes what lives as long as the application does.
        metrics: of the server.
        max_body_bytes: longer bodies are refused.
        check_capacity: raises OverloadedError while predictions are to be turned away.
        tokens: who may ask; None: anybody.
        traces: makes spans of requests; None: nobody does.
    """
    app = (FastAPI if tokens is None else GuardedApp)(
        title="Inference pipeline",
        description="Predictions for mentions, with their features joined.",
        lifespan=lifespan,
        telemetry={
            # FastAPI would else use whatever a library made the process's default.
            "tracing": traces is not None,
            "tracer_provider": traces,
            "operation_spans": False,
            "metrics": False,
            "logs": False,
            "auto_configure": False,
            "exclude": lambda scope: scope["path"] in UNTRACED,
        },
    )
    app.add_middleware(
        BodyLimit,
        max_bytes=max_body_bytes,
        refuse=refuse,
        remedy="Send fewer mentions in a request.",
    )
    app.add_middleware(Measuring, metrics=metrics)
    if traces is not None:
        app.add_middleware(Tracing, tracer=traces.get_tracer(__name__))
    # Outside of those: what is turned away costs nothing more, and has its own counter.
    app.add_middleware(Door, check_capacity=check_capacity, metrics=metrics.engine)
    if tokens is not None:
        # Before all that tells: strangers learn nothing, not even that the server is busy.
        app.add_middleware(
            BearerTokens,
            tokens=tokens,
            needed=lambda _method, path: scope_needed(path),
            refuse=refuse,
            count=lambda reason: metrics.unauthorized.labels(reason).inc(),
        )
    # Outermost: the layers within judge a path as the routes do.
    app.add_middleware(PathCheck)
    add_error_handlers(app)
    for router in routers:
        app.include_router(router)
    return app
