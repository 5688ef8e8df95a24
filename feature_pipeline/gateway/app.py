"""The gateway's HTTP face."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from feature_pipeline.dead_letters import DeadLetters
from feature_pipeline.gateway.access import client_of, scope_needed
from feature_pipeline.gateway.backlog import Backlog
from feature_pipeline.gateway.batch import Kind
from feature_pipeline.gateway.documentation import BatchAnswer, post_body, post_responses
from feature_pipeline.gateway.door import Door, Limits
from feature_pipeline.gateway.error_answers import RequestError, answer_errors
from feature_pipeline.gateway.heartbeat import Heartbeat
from feature_pipeline.gateway.intake import Intake, Outcome
from feature_pipeline.gateway.metrics import GatewayMetrics
from feature_pipeline.gateway.rate_limit import RateLimit
from feature_pipeline.gateway.refusal import TurnedAwayError, refuse, too_fast
from shared.bearer import BearerTokens
from shared.body_limit import BodyLimit
from shared.errors import FtiError
from shared.tokens import TokenBook


class Gateway:
    """Takes posted batches; what is shared by the routes."""

    def __init__(
        self, intake: Intake, limits: Limits, rates: RateLimit, metrics: GatewayMetrics
    ) -> None:
        self._intake = intake
        self._limits = limits
        self._rates = rates
        self._metrics = metrics

    async def take(self, kind: Kind, request: Request) -> JSONResponse:
        """Answer 202 if an item fits or is a duplicate, else 422.

        Raises:
            FtiError: it was refused; it can be sent again, and nothing counts twice.
        """
        try:
            body = await self._body_of(request)
            # Off the event loop: a batch is parsed, checked and on disk before it is answered.
            outcome = await run_in_threadpool(self._take, kind, body, client_of(request.scope))
        except FtiError as error:
            reason = error.reason if isinstance(error, TurnedAwayError) else "request"
            self._metrics.refused.labels(reason).inc()
            raise
        self._metrics.count(kind, outcome)
        nothing_fits = not outcome.accepted and not outcome.duplicates
        return JSONResponse(_describe(outcome), status_code=422 if nothing_fits else 202)

    def _take(self, kind: Kind, body: bytes, client: str) -> Outcome:
        batch = self._intake.read(kind, body)
        # The door has counted the request as one event.
        if wait := self._rates.take(client, len(batch.items) - 1):
            raise too_fast(client, wait)
        return self._intake.take(batch)

    async def _body_of(self, request: Request) -> bytes:
        encoding = request.headers.get("content-encoding", "identity")
        if encoding.strip().lower() != "identity":
            raise RequestError(
                "header Content-Encoding",
                expected="none: bodies are taken as they are",
                found="another one",
                status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            )
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                return await request.body()
        except TimeoutError:
            raise RequestError(
                "body",
                expected=f"all of it within {self._limits.body_seconds:g} seconds",
                found="a part of it",
                status=HTTPStatus.REQUEST_TIMEOUT,
            ) from None


def create_app(
    intake: Intake,
    *,
    heartbeat: Heartbeat,
    backlog: Backlog,
    dead_letters: DeadLetters,
    limits: Limits,
    tokens: TokenBook | None = None,
) -> FastAPI:
    """Return the application; its heart beats while it runs.

    Args:
        intake: takes the batches.
        heartbeat: lets time pass on the log.
        backlog: tells how far the stream is behind.
        dead_letters: whose size is told.
        limits: what is taken.
        tokens: who may ask; None: anybody.
    """
    metrics = GatewayMetrics()
    rates = RateLimit(limits.events_per_second, limits.burst)
    gateway = Gateway(intake, limits, rates, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with heartbeat, backlog:
            yield

    app = FastAPI(title="Feature gateway", version="1", lifespan=lifespan)
    answers = post_responses()

    @app.post(
        "/v1/mentions",
        status_code=202,
        response_model=BatchAnswer,
        responses=answers,
        openapi_extra=post_body("mentions", intake.max_batch),
    )
    async def post_mentions(request: Request) -> Response:
        """Append mentions: {"mentions": [{"mention_id", "text", "published_at", …}, …]}."""
        return await gateway.take("mentions", request)

    @app.post(
        "/v1/labels",
        status_code=202,
        response_model=BatchAnswer,
        responses=answers,
        openapi_extra=post_body("labels", intake.max_batch),
    )
    async def post_labels(request: Request) -> Response:
        """Append labels: {"labels": [{"mention_id", "label", "labelled_at", "annotator"}, …]}."""
        return await gateway.take("labels", request)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"description": "Events cannot be appended"}})
    async def readyz() -> JSONResponse:
        """Events can be appended: the log answers, time passes on it, the stream keeps up."""
        # On the event loop: it waits for nothing, and for no thread that a slow log may hold.
        reasons = [] if heartbeat.alive else ["the heartbeat does not reach the event log"]
        if backlog.exceeded:
            reasons.append(
                f"{backlog.entries} entries wait for the stream, at most {backlog.limit} may"
            )
        return JSONResponse(
            {"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200
        )

    @app.get("/metrics", response_class=PlainTextResponse)
    def get_metrics() -> Response:
        """Figures for Prometheus."""
        metrics.log_entries.set(backlog.log_entries)
        metrics.backlog.set(backlog.entries)
        metrics.dead_letter_bytes.set(dead_letters.used_bytes)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    answer_errors(app)
    # What refuses requests, the innermost first.
    app.add_middleware(
        BodyLimit,
        max_bytes=limits.body_bytes,
        refuse=metrics.counting("body", refuse),
        remedy="Send fewer events in a request.",
    )
    app.add_middleware(
        Door, requests=limits.requests, rates=rates, backlog=backlog, metrics=metrics
    )
    if tokens is not None:
        # Before all that tells: strangers learn nothing, not even that the stream is behind.
        app.add_middleware(
            BearerTokens,
            tokens=tokens,
            needed=lambda _method, path: scope_needed(path),
            refuse=refuse,
            count=lambda reason: metrics.refused.labels(f"token_{reason}").inc(),
        )
    return app


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
