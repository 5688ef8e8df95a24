"""The gateway over HTTP: what is taken, what is refused and how it is said."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from feature_pipeline.dead_letters import DeadLetters
from feature_pipeline.definition.records import KnownMention
from feature_pipeline.eventlog.memory import MemoryEventLog
from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.gateway.app import create_app
from feature_pipeline.gateway.backlog import Backlog
from feature_pipeline.gateway.door import Limits
from feature_pipeline.gateway.heartbeat import Heartbeat
from feature_pipeline.gateway.intake import Intake
from shared.events import Mention
from shared.tokens import TokenBook
from tests.features.conftest import small_task

MENTION = {"mention_id": "1", "text": "heat is fine", "published_at": "2026-03-01T10:00:00Z"}
SMALL = Limits(body_bytes=10_000)
LABEL = {"mention_id": "1", "label": "good", "labelled_at": "2026-03-01T11:00:00Z"}


@pytest.fixture
def dead_letters(tmp_path: Path) -> Iterator[DeadLetters]:
    table = DeadLetters(tmp_path / "dead.db")
    yield table
    table.close()


@pytest.fixture
def memory_log() -> MemoryEventLog:
    return MemoryEventLog()


@pytest.fixture
def client(memory_log: MemoryEventLog, dead_letters: DeadLetters) -> Iterator[TestClient]:
    with opened(memory_log, dead_letters) as client:
        yield client


def gateway_of(
    log: EventLog,
    dead_letters: DeadLetters,
    *,
    limits: Limits = SMALL,
    max_backlog: int = 1_000,
    tokens: TokenBook | None = None,
) -> FastAPI:
    """Return a gateway with small limits."""
    return create_app(
        Intake(small_task(), log, dead_letters, max_batch=3),
        heartbeat=Heartbeat(log, seconds=0.01),
        backlog=Backlog(log, max_backlog, seconds=0.01),
        dead_letters=dead_letters,
        limits=limits,
        tokens=tokens,
    )


@contextmanager
def opened(
    log: EventLog,
    dead_letters: DeadLetters,
    *,
    limits: Limits = SMALL,
    max_backlog: int = 1_000,
    tokens: TokenBook | None = None,
) -> Iterator[TestClient]:
    """Yield a client of a gateway with small limits."""
    app = gateway_of(log, dead_letters, limits=limits, max_backlog=max_backlog, tokens=tokens)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def appended(log: EventLog) -> list[Mention]:
    """Return the mentions of a log, each once."""
    entries = [entry for part in range(log.partitions) for entry in log.read(part, 0, 100).entries]
    events = (entry.event for entry in entries)
    known = {event.known_at: event.mention for event in events if isinstance(event, KnownMention)}
    return [known[at] for at in sorted(known)]


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds, at most ten seconds."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_events_are_taken(client: TestClient, memory_log: MemoryEventLog) -> None:
    """Mentions and labels are accepted; the subject is read off the text where none is given."""
    assert client.post("/v1/mentions", json={"mentions": [MENTION]}).json() == {
        "accepted": 1,
        "duplicates": 0,
        "rejected": [],
    }
    answer = client.post("/v1/labels", json={"labels": [LABEL, LABEL]})
    assert (answer.status_code, answer.json()["accepted"], answer.json()["duplicates"]) == (
        202,
        1,
        1,
    )
    (mention,) = appended(memory_log)
    assert (mention.subject_id, mention.source_id) == ("heat", "unknown")


@pytest.mark.parametrize(
    ("change", "place", "expected"),
    [
        ({"text": " "}, "mentions[1], text", "something to read"),
        ({"text": 7}, "mentions[1], text", "valid string"),
        ({"text": None}, "mentions[1], text", "a value"),
        ({"mention_id": ""}, "mentions[1], mention_id", "at least 1 character"),
        (
            {"published_at": "2026-03-01T10:00:00"},
            "mentions[1], published_at",
            "a time with a zone",
        ),
        ({"sentiment": "good"}, "mentions[1], sentiment", "no field of this name"),
        ({"\ud800": 1}, "mentions[1], an unnamed field", "a valid string"),
        ({"mention_id": "\ud800"}, "mentions[1], mention_id", "valid string"),
        ({"mention_id": " 2"}, "mentions[1], mention_id", "without white space at its ends"),
        ({"published_at": 5}, "mentions[1], published_at", "a time in ISO 8601"),
        ({"published_at": "9999-12-31T23:59:59-23:00"}, "mentions[1], published_at", "before 9999"),
        ({"published_at": "0001-01-01T00:00:00+23:00"}, "mentions[1], published_at", "after 1970"),
    ],
)
def test_rejected_item_is_named_and_kept(
    client: TestClient, dead_letters: DeadLetters, change: dict[str, Any], place: str, expected: str
) -> None:
    """The caller learns which item failed and why; its bytes are kept; the others are taken."""
    bad = MENTION | {"mention_id": "2"} | change
    good = MENTION | {"mention_id": "3"}
    body = json.dumps({"mentions": [MENTION, bad, good]})  # escapes what UTF-8 cannot hold
    answer = client.post("/v1/mentions", content=body)
    (rejected,) = answer.json()["rejected"]
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    assert (rejected["index"], rejected["error"]["place"]) == (1, place)
    assert expected in rejected["error"]["expected"]
    (letter,) = dead_letters.read()
    assert json.loads(letter.raw) == bad


def test_label_that_the_task_lacks_and_label_without_mention(client: TestClient) -> None:
    """An unknown label and an unknown mention are rejected with what was expected instead."""
    labels = [LABEL | {"label": "superb"}, LABEL | {"mention_id": "9"}]
    answer = client.post("/v1/labels", json={"labels": labels})
    first, second = answer.json()["rejected"]
    assert answer.status_code == 422
    assert first["error"]["expected"] == "one of bad, good"
    assert second["error"]["place"] == "labels[1], mention_id"


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"no json", 400, "a JSON document"),
        (b"\xff\xfe", 400, "a JSON document"),
        (b"[" * 9_990, 400, "a JSON document"),
        (b"9" * 9_990, 400, "a JSON document"),
        (b"[]", 400, 'an object {"mentions": […]}'),
        (b'{"mentions": {}}', 400, "a list of 1 to 3 items"),
        (b'{"mentions": []}', 400, "a list of 1 to 3 items"),
        (b'{"mentions": [1, 2, 3, 4]}', 400, "a list of 1 to 3 items"),
        (b'{"mentions": [' + b" " * 10_000 + b"]}", 413, "at most 10000 bytes"),
    ],
)
def test_body_that_is_no_batch(
    client: TestClient, memory_log: MemoryEventLog, body: bytes, status: int, expected: str
) -> None:
    """A body that is no batch is refused as a whole, with what a batch looks like."""
    answer = client.post("/v1/mentions", content=body)
    assert (answer.status_code, answer.json()["error"]["expected"]) == (status, expected)
    assert memory_log.size() == 0


def test_failure_inside_stays_inside(
    client: TestClient, memory_log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the log fails, the caller is told to send again, and nothing of the failure."""

    def fail(_: object) -> None:
        raise OSError("disk /dev/secret is full")

    monkeypatch.setattr(memory_log, "append", fail)
    answer = client.post("/v1/mentions", json={"mentions": [MENTION]})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Send it again" in answer.json()["error"]["remedy"]


def test_probes_and_metrics(
    client: TestClient, memory_log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health, figures, and a readiness that turns when the log cannot be reached."""
    client.post("/v1/mentions", json={"mentions": [MENTION]})
    assert client.get("/healthz").json() == {"status": "ok"}
    eventually(lambda: client.get("/readyz").status_code == 200)
    counted = 'fti_gateway_events_total{kind="mentions",status="accepted"} 1.0'
    assert counted in client.get("/metrics").text
    assert client.get("/nowhere").json()["error"]["place"] == "GET /nowhere"

    def fail() -> None:
        raise OSError("no disk")

    monkeypatch.setattr(memory_log, "heartbeat", fail)
    eventually(lambda: client.get("/readyz").status_code == 503)
    assert client.get("/readyz").json()["reasons"] == ["the heartbeat does not reach the event log"]
