"""What operators and their probes ask: health, readiness, metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from inference_pipeline.api.model_schemas import HealthAnswer, ReadyAnswer
from inference_pipeline.api.schemas import ErrorDetail, ModelName
from inference_pipeline.metrics import Metrics
from inference_pipeline.versions.served import ServedVersion
from inference_pipeline.versions.versions import Versions
from shared.errors import FtiError, StateError


def operations_routes(versions: Versions, metrics: Metrics) -> APIRouter:
    """Return the routes that operators and their probes use."""
    router = APIRouter()

    @router.get("/healthz", responses={503: {"model": HealthAnswer}})
    async def healthz(response: Response) -> HealthAnswer:
        """Tell whether the process does its work; if not, restart it."""
        if versions.alive:
            return HealthAnswer(status="ok")
        response.status_code = 503
        return HealthAnswer(status="the model registry is not followed any more")

    @router.get("/readyz", responses={503: {"model": ReadyAnswer}})
    async def readyz(response: Response) -> ReadyAnswer:
        """Tell whether predictions can be had, and what is wrong even if they can."""
        answer = _readiness(versions)
        if not answer.ready:
            response.status_code = 503
        return answer

    @router.get("/metrics", response_class=Response)
    async def prometheus() -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router


def _readiness(versions: Versions) -> ReadyAnswer:
    """Return what is wrong, as reasons where it keeps the server from answering."""
    states = versions.models()
    wanted = [state for state in states if state.in_use]
    problems: list[FtiError] = [problem for state in wanted for problem in state.problems()]
    if not versions.alive:
        problems.append(_not_followed())
    if not wanted:
        problems.append(_nothing_in_use())
    details = [ErrorDetail.of(problem) for problem in problems]
    ready = versions.ready
    return ReadyAnswer(
        ready=ready,
        model=_name(states[0].champion),
        models=[name for state in states if (name := _name(state.champion)) is not None],
        reasons=[] if ready else details,
        warnings=details if ready else [],
    )


def _name(served: ServedVersion | None) -> ModelName | None:
    if served is None:
        return None
    return ModelName(name=served.version.name, version=served.version.version)


def _not_followed() -> StateError:
    return StateError(
        "model registry", expected="to be followed", found="no thread", remedy="Restart the server."
    )


def _nothing_in_use() -> StateError:
    return StateError(
        "server",
        expected="a model in service",
        found="none: all were taken out of it",
        remedy="POST /v2/repository/models/{model}/load puts one back.",
    )
