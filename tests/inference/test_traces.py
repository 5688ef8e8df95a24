"""Traces: what a collector learns of requests, and that none of them waits for it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import TracerProvider
from starlette.types import Receive, Scope, Send
from structlog.contextvars import get_contextvars

from inference_pipeline.http.tracing import Tracing
from inference_pipeline.settings import InferenceSettings
from shared.errors import SettingsError
from shared.feature_store import FeatureService
from shared.settings import load_settings
from tests.inference.oip_server import serving
from tests.inference.otlp_collector import Collector, attributes, collecting
from tests.inference.registry_files import MODEL

PARENT = "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = "01", "00"


def traceparent(number: int, flags: str = SAMPLED) -> dict[str, str]:
    """Return the header of a client that traces, and whose trace has a number."""
    return {"traceparent": f"00-{number:032x}-{PARENT}-{flags}"}


@pytest.fixture(scope="module")
def collector(
    tmp_path_factory: pytest.TempPathFactory, feature_service: FeatureService
) -> Collector:
    """What a collector knows after a server has answered some requests, numbered by their trace."""
    home = tmp_path_factory.mktemp("traces")
    infer = {"inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [1], "data": ["good"]}]}
    many = {"mentions": [{"text": "late flight"}, {"text": "good"}]}
    with (
        collecting() as collector,
        serving(home, feature_service, inference_traces=collector.url) as client,
    ):

        def post(number: int, path: str, body: object, flags: str = SAMPLED) -> int:
            return client.post(path, json=body, headers=traceparent(number, flags)).status_code

        assert post(1, "/v1/predict?key=ann", {"text": "good"}) == 200
        assert post(2, f"/v2/models/{MODEL}/infer", infer) == 200
        assert post(3, "/v1/predict", {"text": "good"}, UNSAMPLED) == 200
        assert post(4, "/v1/predict", {"text": ""}) == 422
        assert post(5, "/v1/predict?model=nobody", {"text": "good"}) == 404
        assert post(6, "/v1/predict", many) == 200
        assert client.get("/healthz", headers=traceparent(7)).status_code == 200
        assert client.get("/metrics", headers=traceparent(8)).status_code == 200
    # The server has ended, and has sent what it had.
    return collector


def spans(collector: Collector, number: int) -> dict[str, Span]:
    """Return the spans of a request by name."""
    return collector.of(f"{number:032x}")


def test_a_request_continues_its_clients_trace(collector: Collector) -> None:
    """The span of a request hangs below the client's, named and described as the standard says."""
    request = spans(collector, 1)["POST /v1/predict"]
    assert request.parent_span_id.hex() == PARENT
    assert request.kind == Span.SPAN_KIND_SERVER
    told = attributes(request)
    assert told["http.request.method"] == "POST"
    assert told["http.route"] == "/v1/predict"
    assert told["http.response.status_code"] == 200
    assert told["url.path"] == "/v1/predict"
    assert collector.paths == {"/v1/traces"}
    assert collector.services == {"fti-inference"}


def test_the_key_of_a_request_stays_here(collector: Collector) -> None:
    """What may be a user's id does not reach the collector."""
    assert attributes(spans(collector, 1)["POST /v1/predict"])["url.query"] == "REDACTED"
    assert not any("ann" in str(attributes(span).values()) for span in collector.spans)


@pytest.mark.parametrize(
    ("number", "route"),
    [(1, "POST /v1/predict"), (2, "POST /v2/models/{model_name}/infer")],
)
def test_the_steps_of_a_prediction_are_spans(collector: Collector, number: int, route: str) -> None:
    """On both faces: features, the wait for a thread, the batch, one after the other."""
    found = spans(collector, number)
    request = found.pop(route)
    assert found.keys() == {"features", "queue", "batch"}
    assert {span.parent_span_id for span in found.values()} == {request.span_id}
    features, queue, batch = found["features"], found["queue"], found["batch"]
    moments = [
        *(features.start_time_unix_nano, features.end_time_unix_nano),
        *(queue.start_time_unix_nano, queue.end_time_unix_nano),
        *(batch.start_time_unix_nano, batch.end_time_unix_nano),
    ]
    assert moments == sorted(moments)
    assert attributes(features) == {"fti.degraded": False}
    tokens = attributes(batch).pop("fti.tokens")
    assert tokens >= 1
    assert attributes(batch) == {
        "fti.rows": 1,
        "fti.tokens": tokens,
        "fti.model": MODEL,
        "fti.version": "1",
        "fti.alias": "champion",
        "fti.variant": "fp32",
    }


def test_all_batches_of_a_request_are_told(collector: Collector) -> None:
    """However its rows were packed, each batch is there once."""
    trace = f"{6:032x}"
    batches = [s for s in collector.spans if s.trace_id.hex() == trace and s.name == "batch"]
    assert sum(attributes(batch)["fti.rows"] for batch in batches) == 2


def test_what_the_client_does_not_sample_is_not_sent(collector: Collector) -> None:
    """The client's decision holds, and probes are no requests of anybody."""
    for number in (3, 7, 8):
        assert spans(collector, number) == {}


def test_refused_requests_are_told_without_steps(collector: Collector) -> None:
    """A client's mistake is its status, and no fault of the server."""
    for number, status in ((4, 422), (5, 404)):
        (request,) = spans(collector, number).values()
        assert attributes(request)["http.response.status_code"] == status
        assert request.status.code == Status.STATUS_CODE_UNSET


def test_a_collector_that_is_away_costs_no_request(
    tmp_path: Path, feature_service: FeatureService
) -> None:
    """Requests are answered, and the server ends, though no span can be sent."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with serving(tmp_path, feature_service, inference_traces=url) as client:
        for number in range(20):
            answer = client.post(
                "/v1/predict", json={"text": "good"}, headers=traceparent(number + 1)
            )
            assert answer.status_code == 200


async def nothing_comes() -> dict[str, object]:
    """Stand for the client."""
    return {"type": "http.disconnect"}


async def nobody_reads(_message: object) -> None:
    """Stand for the client."""


def test_log_lines_carry_the_trace() -> None:
    """What is logged while a request is handled can be found by its trace, and nothing else."""
    seen = []

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(get_contextvars().get("trace_id"))

    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    tracing = Tracing(app, tracer)

    async def ask() -> None:
        await tracing({"type": "http"}, nothing_comes, nobody_reads)

    with tracer.start_as_current_span("request") as span:
        asyncio.run(ask())
        seen.append(f"{span.get_span_context().trace_id:032x}")
    asyncio.run(ask())
    assert seen[0] == seen[1]
    assert seen[2] is None


def test_an_address_with_a_password_is_refused_and_not_shown() -> None:
    """Secrets go into the standard's own variable for headers."""
    with pytest.raises(SettingsError, match="FTI_INFERENCE_TRACES") as caught:
        load_settings(InferenceSettings, {"FTI_INFERENCE_TRACES": "http://ann:secret@host:4318"})
    assert "secret" not in str(caught.value)


def test_without_traces_nothing_is_imported_for_them(tmp_path: Path) -> None:
    """A server that makes no spans has neither the SDK nor the exporter in memory."""
    code = (
        "import sys\n"
        "from inference_pipeline.bootstrap import assemble\n"
        "from inference_pipeline.features.reader import InMemoryFeatureReader\n"
        "from inference_pipeline.settings import InferenceSettings\n"
        "from inference_pipeline.versions.registry import InMemoryRegistry\n"
        "from shared.feature_store import FeatureService\n"
        "service = FeatureService(name='s', features=(), ttl={}, join_keys={})\n"
        f"settings = InferenceSettings(home={str(tmp_path)!r}, inference_model='tiny')\n"
        "assemble(settings, registry=InMemoryRegistry(), reader=InMemoryFeatureReader(service))\n"
        "print([m for m in sys.modules if m.startswith(('opentelemetry.sdk', "
        "'opentelemetry.exporter'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
