"""``GET /v1/models``: what serves, under which alias, and what is wrong with what does not."""

from __future__ import annotations

from fastapi import APIRouter

from inference_pipeline.api.model_schemas import ModelAnswer, ModelsAnswer, ServedAnswer
from inference_pipeline.api.schemas import ErrorAnswer, Responses
from inference_pipeline.versions.versions import Versions

_UNKNOWN: Responses = {404: {"model": ErrorAnswer, "description": "No such model or version"}}
_NOTHING: Responses = {503: {"model": ErrorAnswer, "description": "No version is in service"}}


def model_routes(versions: Versions) -> APIRouter:
    """Return the routes that tell what serves."""
    router = APIRouter(prefix="/v1/models")

    @router.get("")
    async def models() -> ModelsAnswer:
        """List the models of this server, with their versions in service."""
        return ModelsAnswer(models=[ModelAnswer.of(state) for state in versions.models()])

    @router.get("/{name}", responses=_UNKNOWN)
    async def model(name: str) -> ModelAnswer:
        """Tell what is known of a model."""
        return ModelAnswer.of(versions.state(name))

    @router.get("/{name}/versions/{version}", responses=_UNKNOWN | _NOTHING)
    async def version(name: str, version: str) -> ServedAnswer:
        """Tell what is known of a version in service."""
        with versions.lease(name, version) as served:
            return ServedAnswer.of(served)

    return router
