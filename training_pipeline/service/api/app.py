"""The HTTP interface of the training service, put together."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from shared.bearer import BearerTokens
from shared.body_limit import BodyLimit
from shared.tokens import TokenBook
from training_pipeline.service.api.access import scope_needed
from training_pipeline.service.api.counting import Counting
from training_pipeline.service.api.event_stream import Listeners, event_routes
from training_pipeline.service.api.http_errors import install_error_handlers, refuse
from training_pipeline.service.api.metrics import ServiceMetrics
from training_pipeline.service.api.probe_routes import probe_routes
from training_pipeline.service.api.readiness import Readiness
from training_pipeline.service.api.run_routes import run_routes
from training_pipeline.service.dispatch import Dispatch
from training_pipeline.service.runs.store import RunStore

MAX_BODY_BYTES = 16_384


def create_app(
    *,
    task_name: str,
    task_file: Path,
    store: RunStore,
    dispatch: Dispatch,
    metrics: ServiceMetrics,
    readiness: Readiness,
    listeners: Listeners,
    tokens: TokenBook | None,
) -> FastAPI:
    """Return the application; without tokens anybody may ask."""
    app = FastAPI(title="FTI training pipeline")
    app.include_router(run_routes(task_name, task_file, store, dispatch))
    app.include_router(event_routes(store, listeners))
    app.include_router(probe_routes(metrics, readiness))
    install_error_handlers(app)
    # What refuses requests, the innermost first.
    app.add_middleware(
        BodyLimit, max_bytes=MAX_BODY_BYTES, refuse=refuse, remedy="Give a shorter reason."
    )
    if tokens is not None:
        app.add_middleware(
            BearerTokens,
            tokens=tokens,
            needed=scope_needed,
            refuse=refuse,
            count=metrics.turned_away,
        )
    app.add_middleware(Counting, metrics=metrics)
    return app
