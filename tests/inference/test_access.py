"""Tokens over HTTP: who may ask, for what, and what the others are told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from shared.feature_store import FeatureService
from tests.inference.conftest import eventually
from tests.inference.oip_server import serving
from tests.inference.registry_files import MODEL
from tests.inference.server_process import run_to_end
from tests.inference.test_oip import TEXTS, check_answer, tensor

TOKENS = {scope: f"{scope}-".ljust(40, "x") for scope in ("predict", "models", "metrics")}
OPEN = {
    "/healthz",
    "/readyz",
    "/v2/health/live",
    "/v2/health/ready",
}
ONLY = {
    ("post", "/v1/predict"): "predict",
    ("post", "/v2/models/{model_name}/infer"): "predict",
    ("post", "/v2/models/{model_name}/versions/{model_version}/infer"): "predict",
    ("post", "/v2/repository/models/{model_name}/load"): "models",
    ("post", "/v2/repository/models/{model_name}/unload"): "models",
    ("get", "/metrics"): "metrics",
}


@dataclass
class Guarded:
    """A server that asks for tokens."""

    client: httpx.Client

    def ask(self, method: str, path: str, scope: str | None, **kwargs: object) -> httpx.Response:
        """Send a request with the token of a scope, or without one."""
        headers = {} if scope is None else bearer(TOKENS[scope])
        return self.client.request(method, path, headers=headers, **kwargs)  # type: ignore[arg-type]  # of httpx

    def operations(self) -> list[tuple[str, str]]:
        """Return every documented method and path."""
        paths = self.client.get("/openapi.json").json()["paths"]
        return [(method, path) for path, methods in paths.items() for method in methods]


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, feature_service: FeatureService
) -> Iterator[Guarded]:
    """One server for all tests, with a token for each scope."""
    folder = tmp_path_factory.mktemp("access")
    tokens = folder / "tokens"
    tokens.write_text("".join(f"of-{s} {s} {token}\n" for s, token in TOKENS.items()))
    with serving(folder, feature_service, inference_tokens_file=tokens) as client:
        yield Guarded(client)


def filled(path: str) -> str:
    """Return a path with names in the place of its parameters; of a model that there is not."""
    for name in ("model_name", "name"):
        path = path.replace(f"{{{name}}}", "nobody")
    return path.replace("{model_version}", "9").replace("{version}", "9")


def test_every_operation_asks_for_its_scope(server: Guarded) -> None:
    """Probes are open. Some operations need one scope, and all others, new ones too, any token."""
    operations = server.operations()
    assert set(ONLY) | {("get", path) for path in OPEN} <= set(operations)
    for method, path in operations:
        at = filled(path)
        without = server.ask(method, at, None).status_code
        if path in OPEN:
            assert without not in {401, 403}, path
            continue
        assert without == 401, path
        for scope in TOKENS:
            allowed = ONLY.get((method, path)) in {None, scope}
            assert (server.ask(method, at, scope).status_code == 403) is not allowed, path


@pytest.mark.parametrize("path", ["/v1/nothing", "/v2/nothing", "/v2/models/tiny/infer/", "/"])
def test_paths_that_there_are_not_are_guarded_too(server: Guarded, path: str) -> None:
    """Who has no token does not learn which paths there are."""
    assert server.ask("GET", path, None).status_code == 401


@pytest.mark.parametrize(
    "path", ["/v1/predict%0A", "/v2/models/tiny/infer%0A", "/metrics%0A", "/v1/models%7F"]
)
def test_a_control_character_leads_to_no_path(server: Guarded, path: str) -> None:
    """Routes match before a last line's end, where the table of scopes does not: it is 404."""
    for scope in (None, "metrics", "predict"):
        assert server.ask("POST", path, scope, json={"text": "good"}).status_code == 404


def test_a_control_character_is_404_without_tokens_too(
    tmp_path: Path, feature_service: FeatureService
) -> None:
    """Each face says so in its own shape, and before the door counts."""
    with serving(tmp_path, feature_service) as client:
        answer = client.post("/v1/predict%0A", json={"text": "good"})
        assert (answer.status_code, answer.json()["error"]["place"]) == (404, "path")
        protocol = client.post(f"/v2/models/{MODEL}/infer%0A", json={})
        assert protocol.status_code == 404
        assert protocol.json()["error"].startswith("path: expected a path of this service")


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"Authorization": TOKENS["predict"]},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        bearer(TOKENS["predict"][:-1]),
        bearer(TOKENS["predict"] + "x"),
    ],
)
def test_without_a_known_token_the_answer_is_401(server: Guarded, header: dict[str, str]) -> None:
    """Both faces say in their own shape what is missing, and never what was sent."""
    plain = server.client.post("/v1/predict", json={"text": "good"}, headers=header)
    assert plain.status_code == 401
    assert plain.headers["WWW-Authenticate"].startswith("Bearer")
    assert plain.json()["error"]["place"] == "header Authorization"
    protocol = server.client.post(f"/v2/models/{MODEL}/infer", content=b"", headers=header)
    assert protocol.status_code == 401
    assert protocol.json()["error"].startswith("header Authorization: expected a bearer token")
    assert "xxxx" not in plain.text + protocol.text


def test_a_token_without_the_scope_is_403(server: Guarded) -> None:
    """The answer names the scope that is missing."""
    answer = server.ask("POST", "/v1/predict", "metrics", json={"text": "good"})
    assert answer.status_code == 403
    assert answer.json()["error"]["expected"] == "a token with the scope predict"
    assert 'scope="predict"' in answer.headers["WWW-Authenticate"]
    protocol = server.ask("POST", f"/v2/repository/models/{MODEL}/unload", "predict")
    assert protocol.status_code == 403
    assert "the scope models" in protocol.json()["error"]


def test_the_scheme_may_be_written_small(server: Guarded) -> None:
    """The name of the scheme has no case."""
    header = {"Authorization": f"bearer {TOKENS['predict']}"}
    answer = server.client.post("/v1/predict", json={"text": "good"}, headers=header)
    assert answer.json()["predictions"][0]["label"] == "positive"


def test_the_protocols_library_sends_its_token(server: Guarded) -> None:
    """The library works with a header, and reads the refusal without one."""
    url = f"{server.client.base_url.host}:{server.client.base_url.port}"
    with triton.InferenceServerClient(url) as library:
        inputs = [tensor("TEXT", TEXTS)]
        check_answer(library.infer(MODEL, inputs, headers=bearer(TOKENS["predict"])))
        assert library.is_server_ready()
        with pytest.raises(InferenceServerException, match="expected a bearer token"):
            library.infer(MODEL, inputs)


def test_the_documentation_tells_of_tokens(server: Guarded) -> None:
    """The scheme, the scopes and the refusals stand in the OpenAPI document, which is open."""
    document = server.client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"] == {
        "token": {"type": "http", "scheme": "bearer"}
    }
    predict = document["paths"]["/v1/predict"]["post"]
    assert predict["security"] == [{"token": ["predict"]}]
    assert {"401", "403"} <= predict["responses"].keys()
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert server.client.get("/docs").status_code == 200


def test_refusals_are_counted(server: Guarded) -> None:
    """By what was wrong with the token."""

    def counts() -> list[float]:
        lines = server.ask("GET", "/metrics", "metrics").text.splitlines()
        name = "fti_inference_unauthorized_requests_total"
        reasons = ("missing", "unknown", "scope")
        starts = [f'{name}{{reason="{reason}"}} ' for reason in reasons]
        return [
            sum(float(line.removeprefix(start)) for line in lines if line.startswith(start))
            for start in starts
        ]

    before = counts()
    server.client.get("/metrics")
    server.client.get("/metrics", headers=bearer("y" * 40))
    server.ask("GET", "/metrics", "predict")
    eventually(counts, lambda found: found == [value + 1 for value in before])


def test_an_open_server_stays_on_its_machine(tmp_path: Path) -> None:
    """A public address without tokens stops the start, with what to set."""
    status, output = run_to_end("serve", "--host", "0.0.0.0", FTI_HOME=str(tmp_path))  # noqa: S104
    assert status == 1
    assert "FTI_INFERENCE_HOST" in output
    assert "FTI_INFERENCE_TOKENS_FILE" in output


def test_a_bad_file_of_tokens_stops_the_start(tmp_path: Path) -> None:
    """The line is named, the token is not."""
    file = tmp_path / "tokens"
    file.write_text("shop predict short-secret\n")
    status, output = run_to_end(
        "serve", FTI_HOME=str(tmp_path / "home"), FTI_INFERENCE_TOKENS_FILE=str(file)
    )
    assert status == 1
    assert "line 1" in output
    assert "short-secret" not in output
