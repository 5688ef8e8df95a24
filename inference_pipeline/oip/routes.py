"""The protocol's paths."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TypeVar

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from inference_pipeline.engine.engine import Engine
from inference_pipeline.engine.metrics import EngineMetrics
from inference_pipeline.http.documentation import request_body
from inference_pipeline.oip.encodings import decoded
from inference_pipeline.oip.envelope import parse
from inference_pipeline.oip.errors import OipRoute, Responses, error_answer, responses
from inference_pipeline.oip.inference import BINARY, Inference
from inference_pipeline.oip.models import ModelViews
from inference_pipeline.oip.repository import Repository
from inference_pipeline.oip.schemas import (
    IndexEntry,
    IndexRequest,
    InferAnswer,
    InferRequest,
    LoadRequest,
    ModelConfig,
    ModelMetadata,
    ServerAnswer,
    StatisticsAnswer,
)
from inference_pipeline.oip.statistics import Statistics
from inference_pipeline.oip.target import Limits, Target
from inference_pipeline.versions.versions import Versions

SERVER_NAME = "fti-inference"
EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
]
BINARY_ANSWER: Responses = {
    200: {"content": {BINARY: {"schema": {"type": "string", "format": "binary"}}}}
}
_EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]

M = TypeVar("M", bound=BaseModel)


def _of_all() -> Target:
    return Target()


def _of_model(model_name: str) -> Target:
    return Target(model_name)


def _of_version(model_name: str, model_version: str) -> Target:
    return Target(model_name, model_version)


# FastAPI fills these in from the path: a route that takes one as its default gets a `Target`.
_OF_ALL: Target = Depends(_of_all)
_OF_MODEL: Target = Depends(_of_model)
_OF_VERSION: Target = Depends(_of_version)


def oip_routes(
    engine: Engine, versions: Versions, metrics: EngineMetrics, limits: Limits
) -> APIRouter:
    """Return the routes of the Open Inference Protocol, version 2."""
    router = APIRouter(prefix="/v2", route_class=OipRoute, tags=["Open Inference Protocol"])
    statistics = Statistics(versions, metrics)
    inference = Inference(engine, statistics, limits)
    _add_server(router, versions)
    # Before the models: else "stats" would be the name of one.
    _add_statistics(router, "/models/stats", _OF_ALL, statistics)
    views = ModelViews(versions, limits)
    for path, target in (
        ("/models/{model_name}", _OF_MODEL),
        ("/models/{model_name}/versions/{model_version}", _OF_VERSION),
    ):
        _add_model(router, path, target, views)
        _add_statistics(router, f"{path}/stats", target, statistics)
        _add_inference(router, path, target, inference)
    _add_repository(router, Repository(versions), limits)
    _add_lost(router)
    return router


def _add_server(router: APIRouter, versions: Versions) -> None:
    @router.get("")
    async def server_metadata(request: Request) -> ServerAnswer:
        """Tell what this server is and which extensions of the protocol it knows."""
        return ServerAnswer(name=SERVER_NAME, version=request.app.version, extensions=EXTENSIONS)

    @router.get("/health/live", response_class=Response)
    async def server_live() -> Response:
        """Tell that requests are read."""
        return Response()

    @router.get("/health/ready", response_class=Response, responses=responses(503))
    async def server_ready() -> Response:
        """Tell whether every model answers that was not taken out of service."""
        if versions.ready:
            return Response()
        waiting = [state.name for state in versions.models() if state.in_use and not state.ready]
        return error_answer(503, f"not ready: {', '.join(waiting) or 'the server'}")


def _add_model(router: APIRouter, path: str, target: Target, views: ModelViews) -> None:
    @router.get(path, responses=responses(404, 503))
    async def model_metadata(asked: Target = target) -> ModelMetadata:
        """Tell which tensors a model takes and gives."""
        return views.metadata(asked)

    @router.get(f"{path}/config", responses=responses(404, 503))
    async def model_config(asked: Target = target) -> ModelConfig:
        """Tell a model's configuration, as far as it applies here."""
        return views.config(asked)

    @router.get(f"{path}/ready", response_class=Response, responses=responses(404, 503))
    async def model_ready(asked: Target = target) -> Response:
        """Tell whether a model answers."""
        views.check_ready(asked)
        return Response()


def _add_statistics(router: APIRouter, path: str, target: Target, statistics: Statistics) -> None:
    @router.get(path, responses=responses(404))
    async def model_statistics(asked: Target = target) -> StatisticsAnswer:
        """Tell what versions have done since the server started."""
        return StatisticsAnswer(model_stats=statistics.of(asked))


def _add_inference(router: APIRouter, path: str, target: Target, inference: Inference) -> None:
    @router.post(
        f"{path}/infer",
        response_model=InferAnswer,
        response_model_exclude_none=True,
        responses=BINARY_ANSWER | responses(400, 404, 413, 415, 429, 500, 503, 504),
        openapi_extra=request_body(InferRequest, required=True),
    )
    async def model_infer(request: Request, asked: Target = target) -> Response:
        """Classify texts: inputs TEXT and, where known, SUBJECT and SOURCE, one row each.

        Tensors may also travel in binary, as the protocol's extension for it says: after the JSON,
        whose length the header Inference-Header-Content-Length then tells.
        """
        return await inference.infer(request, asked)


def _add_repository(router: APIRouter, repository: Repository, limits: Limits) -> None:
    async def read(request: Request, kind: type[M]) -> M:
        encoding = request.headers.get("Content-Encoding", "")
        body = decoded(await request.body(), encoding, limits.body_bytes)
        # Clients of the protocol send no body where they have nothing to say.
        return parse(kind, body or b"{}")

    @router.post(
        "/repository/index",
        responses=responses(400, 413, 415),
        openapi_extra=request_body(IndexRequest, required=False),
    )
    async def repository_index(request: Request) -> list[IndexEntry]:
        """List versions in service, and models without one."""
        asked = await read(request, IndexRequest)
        return repository.index(only_ready=asked.ready)

    @router.post(
        "/repository/models/{model_name}/load",
        response_class=Response,
        responses=responses(400, 404, 409, 413, 415, 503),
        openapi_extra=request_body(LoadRequest, required=False),
    )
    async def repository_load(model_name: str, request: Request) -> Response:
        """Look at the registry now, and put a model into service again if it was taken out."""
        asked = await read(request, LoadRequest)
        await asyncio.to_thread(repository.load, model_name, asked)
        return Response()

    @router.post(
        "/repository/models/{model_name}/unload",
        response_class=Response,
        responses=responses(404),
    )
    async def repository_unload(model_name: str) -> Response:
        """Take a model out of service until it is loaded again."""
        await asyncio.to_thread(repository.unload, model_name)
        return Response()


def _add_lost(router: APIRouter) -> None:
    known = [route for route in router.routes if isinstance(route, OipRoute)]

    @router.api_route("/{rest:path}", methods=_EVERY_METHOD, include_in_schema=False)
    async def lost(request: Request) -> Response:
        """Answer for paths and methods that there are not, in the protocol's shape."""
        path = request.url.path
        allowed = {
            method
            for route in known
            if route.path_regex.match(path)
            for method in route.methods or ()
        }
        if not allowed:
            return error_answer(HTTPStatus.NOT_FOUND, f"{path} is no path of this server")
        methods = ", ".join(sorted(allowed))
        return error_answer(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"{path} takes {methods}, not {request.method}",
            {"Allow": methods},
        )
