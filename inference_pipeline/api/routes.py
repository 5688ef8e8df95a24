"""What can be asked for over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from inference_pipeline.api.schemas import (
    ErrorAnswer,
    ErrorDetail,
    FeatureServiceAnswer,
    HealthAnswer,
    MentionToPredict,
    ModelAnswer,
    ModelName,
    PredictAnswer,
    PredictRequest,
    ReadyAnswer,
    Responses,
)
from inference_pipeline.engine import Engine, Question
from inference_pipeline.metrics import Metrics
from inference_pipeline.watcher import ChampionWatcher
from shared.errors import InputError, StateError
from shared.manifest import CHAMPION

_NO_MODEL: Responses = {503: {"model": ErrorAnswer, "description": "No version is in service"}}
_BAD_REQUEST: Responses = {
    status: {"model": ErrorAnswer, "description": description}
    for status, description in (
        (400, "The body cannot be read"),
        (413, "The body is too large"),
        (415, "The body is not sent as JSON"),
        (422, "The request does not fit; the place says where"),
    )
}


def prediction_routes(engine: Engine, watcher: ChampionWatcher, *, max_batch: int) -> APIRouter:
    """Return the routes that clients use."""
    router = APIRouter(prefix="/v1")

    @router.post("/predict", responses=_BAD_REQUEST | _NO_MODEL)
    async def predict(body: PredictRequest) -> PredictAnswer:
        """Classify one mention or several."""
        return PredictAnswer.of(await engine.predict(_questions(body, max_batch)))

    @router.get("/model", responses=_NO_MODEL)
    async def model() -> ModelAnswer:
        """Tell which version is in service."""
        champion = watcher.champion()
        manifest = champion.model.manifest
        return ModelAnswer(
            name=champion.version.name,
            version=champion.version.version,
            alias=CHAMPION,
            loaded_at=champion.loaded_at,
            labels=manifest.labels,
            feature_service=FeatureServiceAnswer(
                name=manifest.feature_service, hash=manifest.feature_hash
            ),
            metrics=manifest.metrics,
        )

    return router


def operations_routes(watcher: ChampionWatcher, metrics: Metrics) -> APIRouter:
    """Return the routes that operators and their probes use."""
    router = APIRouter()

    @router.get("/healthz", responses={503: {"model": HealthAnswer}})
    async def healthz(response: Response) -> HealthAnswer:
        """Tell whether the process does its work; if not, restart it."""
        if watcher.alive:
            return HealthAnswer(status="ok")
        response.status_code = 503
        return HealthAnswer(status="the champion watcher has ended")

    @router.get("/readyz", responses={503: {"model": ReadyAnswer}})
    async def readyz(response: Response) -> ReadyAnswer:
        """Tell whether predictions can be had, and what is wrong even if they can."""
        answer = _readiness(watcher)
        if not answer.ready:
            response.status_code = 503
        return answer

    @router.get("/metrics", response_class=Response)
    async def prometheus() -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router


def _questions(body: PredictRequest, max_batch: int) -> list[Question]:
    if isinstance(body, MentionToPredict):
        return [body.question()]
    if len(body.mentions) > max_batch:
        raise InputError(
            "mentions", expected=f"at most {max_batch} items", found=f"{len(body.mentions)}"
        )
    return body.questions()


def _readiness(watcher: ChampionWatcher) -> ReadyAnswer:
    state = watcher.state
    wrong = [state.refusal.reason] if state.refusal else []
    details = [ErrorDetail.of(error) for error in (*wrong, state.trouble) if error is not None]
    if not watcher.alive:
        details.append(ErrorDetail.of(_watcher_ended()))
    champion = state.champion
    ready = champion is not None and watcher.alive
    return ReadyAnswer(
        ready=ready,
        model=None
        if champion is None
        else ModelName(name=champion.version.name, version=champion.version.version),
        reasons=[] if ready else details,
        warnings=details if ready else [],
    )


def _watcher_ended() -> StateError:
    return StateError(
        "champion watcher", expected="a running thread", found="none", remedy="Restart the server."
    )
