"""The steps of a request as spans, below the one that FastAPI makes of the request itself."""

from __future__ import annotations

import time
from collections.abc import Mapping

from opentelemetry.trace import Tracer, get_current_span
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from inference_pipeline.engine.timeline import Timeline
from inference_pipeline.http.paths import PROBES
from inference_pipeline.versions.served import ServedVersion

UNTRACED = PROBES | {"/metrics"}
"""What machines ask every few seconds."""

_TIMELINE = "fti.timeline"


class Tracing:
    """Asks for a timeline of each request that is traced, and makes spans of it afterwards.

    Log lines of such a request carry its `trace_id`.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        span = get_current_span()
        if not span.is_recording():
            await self._app(scope, receive, send)
            return
        timeline = scope[_TIMELINE] = Timeline()
        # Spans are on the wall clock, which may jump; between two of them it shall not.
        offset = time.time() - time.monotonic()
        try:
            with bound_contextvars(trace_id=f"{span.get_span_context().trace_id:032x}"):
                await self._app(scope, receive, send)
        finally:
            self._make_spans(timeline, offset, ended=time.monotonic())

    def _make_spans(self, timeline: Timeline, offset: float, *, ended: float) -> None:
        def span(name: str, start: float, end: float, **attributes: float | str | bool) -> None:
            made = self._tracer.start_span(
                name,
                attributes={f"fti.{key}": value for key, value in attributes.items()},
                start_time=_nanoseconds(start + offset),
            )
            made.end(_nanoseconds(end + offset))

        asked, came = timeline.features_asked, timeline.features_came
        if asked is not None and came is None:
            span("features", asked, ended)
        if asked is not None and came is not None:
            span("features", asked, came, degraded=timeline.degraded)
            first = min((batch.started for batch in timeline.batches), default=ended)
            span("queue", came, first)
        names = {} if timeline.served is None else _names(timeline.served)
        for batch in timeline.batches:
            span(
                "batch",
                batch.started,
                batch.started + batch.seconds,
                rows=batch.rows,
                tokens=batch.tokens,
                **names,
            )


def timeline_of(request: Request) -> Timeline | None:
    """Return where the engine shall note the steps of a request; None for one not traced."""
    found: Timeline | None = request.scope.get(_TIMELINE)
    return found


def _names(served: ServedVersion) -> Mapping[str, str]:
    return {
        "model": served.version.name,
        "version": served.version.version,
        "alias": served.alias or "",
        "variant": served.model.variant,
    }


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
