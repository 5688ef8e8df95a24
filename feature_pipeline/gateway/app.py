"""The gateway's HTTP face."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.gateway.error_answers import BodyTooLargeError, answer_errors
from feature_pipeline.gateway.heartbeat import Heartbeat
from feature_pipeline.gateway.intake import Intake, Kind, Outcome
from feature_pipeline.gateway.metrics import GatewayMetrics


def create_app(
    intake: Intake, log: EventLog, heartbeat: Heartbeat, *, max_body_bytes: int
) -> FastAPI:
    """Return the application; its heart beats while it runs."""
    metrics = GatewayMetrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with heartbeat:
            yield

    app = FastAPI(title="Feature gateway", version="1", lifespan=lifespan)

    async def take(kind: Kind, request: Request) -> JSONResponse:
        body = await _read_body(request, max_body_bytes)
        outcome = await run_in_threadpool(intake.take, kind, body)
        metrics.count(kind, outcome)
        nothing_fits = not outcome.accepted and not outcome.duplicates
        return JSONResponse(_describe(outcome), status_code=422 if nothing_fits else 202)

    @app.post("/v1/mentions", status_code=202)
    async def post_mentions(request: Request) -> JSONResponse:
        """Append mentions: {"mentions": [{"mention_id", "text", "published_at", …}, …]}."""
        return await take("mentions", request)

    @app.post("/v1/labels", status_code=202)
    async def post_labels(request: Request) -> JSONResponse:
        """Append labels: {"labels": [{"mention_id", "label", "labelled_at", "annotator"}, …]}."""
        return await take("labels", request)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        """Events can be appended: the log answers and time passes on it."""
        reasons = [] if heartbeat.alive else ["the heartbeat does not reach the event log"]
        return JSONResponse(
            {"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200
        )

    @app.get("/metrics")
    def get_metrics() -> Response:
        """Figures for Prometheus."""
        metrics.log_entries.set(log.size())
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    answer_errors(app)
    return app


async def _read_body(request: Request, limit: int) -> bytes:
    """Return the body; stop reading where it becomes too large, whatever its headers say."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError("body", expected=f"at most {limit} bytes", found="more")
        chunks.append(chunk)
    return b"".join(chunks)


def _describe(outcome: Outcome) -> dict[str, object]:
    return {
        "accepted": outcome.accepted,
        "duplicates": outcome.duplicates,
        "rejected": [
            {
                "index": rejection.index,
                "mention_id": rejection.mention_id,
                "error": rejection.error.as_dict(),
            }
            for rejection in outcome.rejected
        ],
    }
