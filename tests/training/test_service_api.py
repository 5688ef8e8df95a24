"""The HTTP face of the training service, on a store in memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from shared.errors import StateError
from shared.tokens import TokenBook, read_tokens
from tests.training.outbox import Outbox
from tests.training.sample import task_text
from training_pipeline.problem import Problem
from training_pipeline.service.api.access import SCOPES
from training_pipeline.service.api.app import create_app
from training_pipeline.service.api.event_stream import Listeners
from training_pipeline.service.api.metrics import ServiceMetrics
from training_pipeline.service.api.readiness import Readiness
from training_pipeline.service.dispatch import Dispatch
from training_pipeline.service.runs.memory import MemoryRunStore
from training_pipeline.service.runs.run import Run, RunState, WorkerSign
from training_pipeline.service.runs.transitions import begin_registration, claim, finish, report

LEASE = timedelta(seconds=30)
TOKENS = {"ci": "c" * 32, "people": "p" * 32, "prometheus": "m" * 32}


@dataclass
class Service:
    """A service and what stands behind it."""

    http: TestClient
    store: MemoryRunStore
    outbox: Outbox
    listeners: Listeners
    task_file: Path

    def post(self, **asked: Any) -> str:
        answer = self.http.post("/v1/runs", json={"reason": "drift", **asked})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    def refused(self, **asked: Any) -> tuple[int, str, str]:
        """Return status, place, and what was expected and found, of a request."""
        answer = self.http.post("/v1/runs", json=asked)
        error = answer.json()["error"]
        assert set(error) == {"place", "expected", "found", "remedy"}
        return answer.status_code, error["place"], f"{error['expected']} {error['found']}"


def make_service(folder: Path, *, tokens: TokenBook | None = None) -> Service:
    task_file = folder / "task.toml"
    task_file.write_text(task_text("no-such-base"))
    store, outbox = MemoryRunStore(), Outbox()
    metrics = ServiceMetrics(store)
    listeners = Listeners(2, metrics.listeners)
    app = create_app(
        task_name="flights",
        task_file=task_file,
        store=store,
        dispatch=Dispatch(store, outbox),
        metrics=metrics,
        readiness=Readiness(store, outbox, task_file, "flights"),
        listeners=listeners,
        tokens=tokens,
    )
    return Service(TestClient(app), store, outbox, listeners, task_file)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that asks nobody for a token."""
    made = make_service(tmp_path)
    with made.http:
        yield made


def test_a_run_is_taken_and_sent(service: Service) -> None:
    """It is kept with all that was asked, told to the workers, and found where Location says."""
    asked = {"reason": "drift", "task": "flights", "queue": "gpu", "overrides": {"epochs": 2}}
    answer = service.http.post("/v1/runs", json=asked)
    assert answer.status_code == 202
    run_id = answer.json()["run_id"]
    assert answer.headers["location"] == f"/v1/runs/{run_id}"
    run = service.http.get(f"/v1/runs/{run_id}").json()
    assert (run["state"], run["queue"], run["overrides"]) == ("queued", "gpu", {"epochs": 2})
    assert "lease_until" not in run
    assert service.outbox.sent == [run_id]


def test_a_broker_that_is_away_loses_no_run(service: Service) -> None:
    """The run is taken all the same; whoever sweeps sends it later."""
    service.outbox.away = True
    run = service.store.get(service.post())
    assert run is not None
    assert (run.state, run.sent_at) == (RunState.QUEUED, None)


def test_posts_with_one_key_make_one_run(service: Service) -> None:
    """However many come at once, there is one run, sent once; another request is refused."""
    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(lambda _: service.post(idempotency_key="a"), range(24)))
    assert service.outbox.sent == list(ids)
    status, place, words = service.refused(reason="else", idempotency_key="a", queue="gpu")
    assert (status, place) == (409, "body.idempotency_key")
    assert "another reason and another queue" in words
    _, _, words = service.refused(reason="drift", idempotency_key="a", overrides={"seed": 1})
    assert words.endswith(" other overrides")


@pytest.mark.parametrize(
    ("body", "status", "place", "words"),
    [
        ({"reason": "x", "task": "films"}, 422, "body.task", "'flights'"),
        ({}, 422, "body.reason", "nothing"),
        ({"reason": ""}, 422, "body.reason", "a text that is not blank ''"),
        ({"reason": "  "}, 422, "body.reason", "a text that is not blank '  '"),
        ({"reason": "a\0"}, 422, "body.reason", "a text without zero bytes"),
        ({"reason": 7}, 422, "body.reason", "string"),
        ({"reason": "x", "epochs": 3}, 422, "body.epochs", "no field of this name"),
        ({"reason": "x", "idempotency_key": ""}, 422, "body.idempotency_key", "at least 1"),
        ({"reason": "x", "queue": "GPU 1"}, 422, "body.queue", "match pattern"),
        ({"reason": "x", "overrides": 7}, 422, "body.overrides", "dictionary"),
        ({"reason": "x", "overrides": {"epoch": 2}}, 422, "body.overrides.epoch", "no field"),
        ({"reason": "x", "overrides": {"epochs": 0}}, 422, "body.overrides.epochs", "1 0"),
        ({"reason": "x", "overrides": {"epochs": 10**9}}, 422, "body.overrides.epochs", "10000 "),
        ({"reason": "x", "overrides": {"epochs": "2"}}, 422, "body.overrides.epochs", "integer '"),
        ({"reason": "x", "overrides": {"epochs": True}}, 422, "body.overrides.epochs", "True"),
        (
            {"reason": "x", "overrides": {"gate": {"min_gain_over_baseline": -1}}},
            422,
            "body.overrides.gate",
            "the task file decides",
        ),
        (
            {"reason": "x", "overrides": {"behaviour": "/etc/passwd"}},
            422,
            "body.overrides.behaviour",
            "the task file decides",
        ),
        ({"reason": "x" * 20_000}, 413, "body", "at most 16384 bytes"),
    ],
)
def test_bad_requests_name_the_field(
    service: Service, body: dict[str, Any], status: int, place: str, words: str
) -> None:
    """A request that does not fit is refused, with the field, what it needs and what came."""
    found = service.refused(**body)
    assert found[:2] == (status, place)
    assert words in found[2]
    assert service.store.newest(1) == []


@pytest.mark.parametrize("given", ["text/plain", None])
def test_a_body_of_another_type_is_named(service: Service, given: str | None) -> None:
    """The content type is at fault, not what the body says."""
    headers = {} if given is None else {"content-type": given}
    answer = service.http.post("/v1/runs", content=b'{"reason": "drift"}', headers=headers)
    assert answer.status_code == 422
    assert answer.json()["error"] == {
        "place": "header.content-type",
        "expected": "application/json",
        "found": given or "none",
        "remedy": "",
    }


def test_a_large_body_without_a_length_is_refused(service: Service) -> None:
    """The limit counts the bytes that come, so a body sent in chunks is refused as well."""
    answer = service.http.post("/v1/runs", content=(b"x" * 1_000 for _ in range(20)))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/runs/unknown", 404),
        ("GET", f"/v1/runs/{'0' * 32}", 404),
        ("GET", f"/v1/runs/{'0' * 32}/events", 404),
        ("GET", "/v1/runs/%00", 404),
        ("GET", "/v1/runs?state=eaten", 422),
        ("DELETE", f"/v1/runs/{'0' * 32}", 404),
        ("GET", "/nothing", 404),
        ("DELETE", "/v1/runs", 405),
    ],
)
def test_what_is_not_there_has_the_same_shape(
    service: Service, method: str, path: str, status: int
) -> None:
    """Unknown runs, paths and methods answer with the four parts of an error."""
    answer = service.http.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"place", "expected", "found", "remedy"}


def test_runs_are_listed_by_state(service: Service) -> None:
    """The newest first, only those of a state if one is asked for."""
    first, second = service.post(), service.post()
    now = datetime.now(UTC)
    service.store.change(first, claim("w", now, LEASE), now)
    assert _ids(service, "/v1/runs") == [second, first]
    assert _ids(service, "/v1/runs?limit=1") == [second]
    assert _ids(service, "/v1/runs?state=running") == [first]


def test_cancelling(service: Service) -> None:
    """A run that waits ends at once, one that runs is to end, one that is over cannot be."""
    waiting, running, registering = service.post(), service.post(), service.post()
    now = datetime.now(UTC)
    for run_id in (running, registering):
        service.store.change(run_id, claim("w", now, LEASE), now)
    service.store.change(registering, begin_registration("w", now, LEASE), now)
    assert service.http.delete(f"/v1/runs/{waiting}").json()["state"] == "cancelled"
    for _ in range(2):
        answer = service.http.delete(f"/v1/runs/{running}")
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelling")
    for run_id, words in ((waiting, "cancelled"), (registering, "being registered")):
        refused = service.http.delete(f"/v1/runs/{run_id}")
        assert refused.status_code == 409
        assert refused.json()["error"]["found"] == f"one that is {words}"


def test_events_go_on_where_a_reader_was_cut(service: Service) -> None:
    """A stream tells every change with its number, begins after Last-Event-ID, and ends."""
    run_id = service.post()
    now = datetime.now(UTC)
    service.store.change(run_id, claim("w", now, LEASE), now)
    service.store.change(run_id, report("w", "fit", 0.5, {"loss": 0.7, "step": 3}), now)
    problem = Problem(place="here", expected="this", found="that")
    service.store.change(run_id, finish("w", RunState.FAILED, now, error=problem), now)
    path = f"/v1/runs/{run_id}/events"
    whole = service.http.get(path)
    assert whole.headers["content-type"].startswith("text/event-stream")
    frames = whole.text.strip().split("\n\n")
    assert [frame.split("\n")[0] for frame in frames] == ["id: 1", "id: 2", "id: 3", "id: 4"]
    assert '"metrics": {"loss": 0.7, "step": 3.0}' in frames[2]
    assert '"state": "failed"' in frames[3]
    rest = service.http.get(path, headers={"Last-Event-ID": "2"})
    assert rest.text.strip().split("\n\n") == frames[2:]
    assert service.http.get(path, headers={"Last-Event-ID": "4"}).text == ""
    for wrong in ("x", "-1", "9" * 20):
        assert service.http.get(path, headers={"Last-Event-ID": wrong}).status_code == 422
    assert "fti_training_event_listeners 0.0" in service.http.get("/metrics").text


def test_events_end_quietly_when_the_store_goes(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader has whole events, and comes again with the number of the last."""
    run_id = service.post()

    found = iter([service.store.get(run_id)])  # by the request itself, before the stream begins

    def get(_: str) -> Run | None:
        for run in found:
            return run
        raise StateError("run store", expected="one that answers", found="none")

    monkeypatch.setattr(service.store, "get", get)
    answer = service.http.get(f"/v1/runs/{run_id}/events")
    assert answer.status_code == 200
    assert [line for line in answer.text.splitlines() if line.startswith("id:")] == ["id: 1"]


def test_readers_of_events_are_few(service: Service) -> None:
    """One more than may be is refused, and told what to do instead."""
    run_id = service.post()
    for _ in range(2):
        service.listeners.enter()
    answer = service.http.get(f"/v1/runs/{run_id}/events")
    assert answer.status_code == 503
    assert answer.json()["error"]["expected"] == "2 readers at most"
    service.listeners.leave()
    service.listeners.ending.set()
    assert service.http.get(f"/v1/runs/{run_id}/events").status_code == 200


def test_readiness_says_what_is_missing(service: Service) -> None:
    """Without workers or a broker runs are taken and wait; without a task file they are not."""
    answer = service.http.get("/readyz")
    assert (answer.status_code, answer.json()["ready"], answer.json()["degraded"]) == (
        200,
        True,
        True,
    )
    (reason,) = answer.json()["reasons"]
    assert reason.startswith("workers: none was heard of")
    sign = WorkerSign(name="w", queues=("default",), heard_at=datetime.now(UTC))
    service.store.sign(sign)
    well = {"ready": True, "degraded": False, "reasons": []}
    assert service.http.get("/readyz").json() == well
    service.outbox.away = True
    assert service.http.get("/readyz").status_code == 200
    service.task_file.write_text("this is no TOML")
    answer = service.http.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert answer.json()["reasons"] == [
        "task file: it cannot be read",
        "broker: it cannot be reached; runs wait",
    ]
    assert service.http.get("/healthz").status_code == 200
    status, place, _ = service.refused(reason="x", overrides={"epochs": 2})
    assert (status, place) == (503, "task file")


def test_metrics_come_from_the_store(service: Service) -> None:
    """Runs by state and queue, workers, ages and durations; requests by what the service knows."""
    service.post(queue="gpu")
    ended = service.post()
    now = datetime.now(UTC)
    service.store.change(ended, claim("w", now, LEASE), now)
    problem = Problem(place="here", expected="this", found="that")
    service.store.change(ended, finish("w", RunState.FAILED, now, error=problem), now)
    service.store.sign(WorkerSign(name="w", queues=("default",), heard_at=now))
    service.http.get(f"/v1/runs/{ended}")
    service.http.request("INVENTED", "/v1/runs")
    service.http.request("INVENTED", "/invented")
    told = service.http.get("/metrics").text
    for line in (
        'fti_training_runs{state="failed"} 1.0',
        'fti_training_queued_runs{queue="gpu"} 1.0',
        'fti_training_workers{queue="default"} 1.0',
        'fti_training_run_seconds_count{state="failed"} 1.0',
        'fti_training_run_seconds_count{state="succeeded"} 0.0',
        'fti_training_run_seconds_bucket{le="10.0",state="failed"} 1.0',
        'route="/v1/runs/{run_id}"',
    ):
        assert line in told
    assert "INVENTED" not in told
    assert "/invented" not in told
    age = next(line for line in told.splitlines() if line.startswith("fti_training_oldest_queued"))
    assert float(age.split()[1]) > 0


def test_tokens_allow_what_their_scopes_say(tmp_path: Path) -> None:
    """Without one nothing but probes; reading, training and metrics each want their scope."""
    scopes = {"ci": "train,read", "people": "read", "prometheus": "metrics"}
    lines = (f"{name} {scopes[name]} {token}" for name, token in TOKENS.items())
    (tmp_path / "tokens").write_text("\n".join(lines))
    tokens = read_tokens(tmp_path / "tokens", scopes=SCOPES, setting="FTI_TRAINING_TOKENS_FILE")
    http = make_service(tmp_path, tokens=tokens).http

    def status(client: str, method: str, path: str) -> int:
        headers = {"Authorization": f"Bearer {TOKENS[client]}"} if client else {}
        return http.request(method, path, headers=headers, json={"reason": "x"}).status_code

    run = f"/v1/runs/{'0' * 32}"
    assert [status("", *ask) for ask in (("POST", "/v1/runs"), ("GET", run))] == [401, 401]
    assert status("", "GET", "/healthz") == 200
    assert [status("ci", "POST", "/v1/runs"), status("ci", "GET", run)] == [202, 404]
    assert [status("people", "POST", "/v1/runs"), status("people", "GET", run)] == [403, 404]
    assert status("people", "DELETE", run) == 403
    assert status("ci", "GET", "/metrics") == 403
    assert status("prometheus", "GET", "/metrics") == 200
    assert status("prometheus", "GET", "/v1/runs") == 403


def _ids(service: Service, path: str) -> list[str]:
    return [run["run_id"] for run in service.http.get(path).json()["runs"]]
