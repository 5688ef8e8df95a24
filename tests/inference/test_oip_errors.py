"""Failures in the protocol's shape, whatever is raised."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from inference_pipeline.engine.admission import DeadlineExceededError, OverloadedError
from inference_pipeline.engine.scheduler import ModelFailureError
from inference_pipeline.oip.encodings import BodyTooLargeError, UnsupportedEncodingError
from inference_pipeline.oip.errors import OipRoute
from inference_pipeline.versions.registry import RegistryUnreachableError
from inference_pipeline.versions.versions import NoVersionError, UnknownModelError
from shared.errors import ContractError, FtiError, InputError, StateError


def client_of(error: Exception) -> TestClient:
    """Return a client of a route that raises an error."""
    router = APIRouter(route_class=OipRoute)

    @router.get("/")
    async def fails() -> None:
        raise error

    app = FastAPI()
    app.include_router(router)
    return TestClient(app, raise_server_exceptions=False)


def made(kind: Callable[..., FtiError]) -> FtiError:
    """Return an error of some kind."""
    return kind("the place", expected="this", found="that", remedy="Mend it.")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (InputError, 400),
        (UnknownModelError, 404),
        (ContractError, 409),
        (BodyTooLargeError, 413),
        (UnsupportedEncodingError, 415),
        (OverloadedError, 429),
        (ModelFailureError, 500),
        (NoVersionError, 503),
        (RegistryUnreachableError, 503),
        (DeadlineExceededError, 504),
    ],
)
def test_each_error_has_its_status_and_its_reason(
    kind: Callable[..., FtiError], status: int
) -> None:
    """Errors that a client can act on are told in full."""
    answer = client_of(made(kind)).get("/")
    assert answer.status_code == status
    assert answer.json() == {"error": "the place: expected this, found that. Mend it."}


def test_overload_says_when_to_try_again() -> None:
    """Retry-After is in whole seconds, rounded up."""
    error = OverloadedError("server", expected="time", found="none")
    error.retry_after = timedelta(seconds=1.2)
    assert client_of(error).get("/").headers["Retry-After"] == "2"


@pytest.mark.parametrize("error", [RuntimeError("secret"), made(StateError).within("secret")])
def test_what_is_the_servers_own_matter_is_not_told(error: Exception) -> None:
    """Failures that no client can mend are a 500 without a word of what happened."""
    answer = client_of(error).get("/")
    assert answer.status_code == 500
    assert answer.json() == {"error": "a fault of the server; its log tells more"}
