"""What the gateway turns away for now, how it says so, and that nothing is lost by it."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_pipeline.dead_letters import DeadLetter, DeadLetters
from feature_pipeline.eventlog.memory import MemoryEventLog
from feature_pipeline.eventlog.port import LogUnavailableError, Receipt
from feature_pipeline.eventlog.sqlite import SqliteEventLog
from feature_pipeline.gateway.batch import Batch
from feature_pipeline.gateway.door import Limits
from feature_pipeline.settings import FeatureSettings
from shared.errors import SettingsError
from shared.events import Label, Mention
from shared.settings import load_settings
from shared.tokens import Client, TokenBook
from tests.features.conftest import START
from tests.features.test_gateway import LABEL, MENTION, SMALL, appended, eventually, opened

TOKEN, OTHER = "ab" * 20, "cd" * 20
FIELDS = {"place", "expected", "found", "remedy"}


@pytest.fixture
def log() -> MemoryEventLog:
    return MemoryEventLog()


@pytest.fixture
def dead_letters(tmp_path: Path) -> Iterator[DeadLetters]:
    with closing(DeadLetters(tmp_path / "dead.db", max_bytes=200_000)) as table:
        yield table


def batch(*ids: str, **changes: object) -> dict[str, object]:
    return {"mentions": [MENTION | {"mention_id": one} | changes for one in ids]}


def refused(client: TestClient, reason: str) -> float:
    """Return how many requests the gateway counted as refused for a reason."""
    name = f'fti_gateway_refused_requests_total{{reason="{reason}"}} '
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def check_refusal(answer: Any, status: int) -> None:
    """Check that an answer says when to try again, in the shape of every error."""
    assert (answer.status_code, set(answer.json()["error"])) == (status, FIELDS)
    assert int(answer.headers["Retry-After"]) >= 1


def test_client_that_posts_too_fast_is_told_to_wait(
    log: MemoryEventLog, dead_letters: DeadLetters
) -> None:
    """More events than the rate: 429 with Retry-After, by events and not by requests."""
    limits = Limits(events_per_second=0.01, burst=4)
    with opened(log, dead_letters, limits=limits) as client:
        assert client.post("/v1/mentions", json=batch("1", "2", "3")).status_code == 202
        answer = client.post("/v1/mentions", json=batch("4", "5", "6"))
        check_refusal(answer, 429)
        assert "slowly" in answer.json()["error"]["remedy"]
        assert refused(client, "rate") == 1
    assert len(appended(log)) == 3


def test_each_token_has_a_rate_of_its_own(log: MemoryEventLog, dead_letters: DeadLetters) -> None:
    """Clients are told apart by their tokens, though they come from one address."""
    book = TokenBook(
        (sha256(token.encode()).digest(), Client(name, frozenset({"events"})))
        for name, token in (("ann", TOKEN), ("bob", OTHER))
    )
    limits = Limits(events_per_second=0.01, burst=3)
    with opened(log, dead_letters, limits=limits, tokens=book) as client:

        def post(token: str, mention: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return client.post("/v1/mentions", json=batch(mention), headers=headers).status_code

        assert [post(TOKEN, f"a{n}") for n in range(4)] == [202, 202, 202, 429]
        assert post(OTHER, "b") == 202


def test_tokens_are_asked_for(log: MemoryEventLog, dead_letters: DeadLetters) -> None:
    """Events and figures want their scope; probes and documentation want none."""
    clients = [
        (TOKEN, Client("ann", frozenset({"events"}))),
        (OTHER, Client("ops", frozenset({"metrics"}))),
    ]
    book = TokenBook((sha256(token.encode()).digest(), client) for token, client in clients)
    with opened(log, dead_letters, tokens=book) as client:

        def ask(method: str, path: str, token: str = "") -> int:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return client.request(method, path, headers=headers, json=batch("1")).status_code

        assert ask("POST", "/v1/mentions") == 401
        assert ask("POST", "/v1/mentions", "ef" * 20) == 401
        assert ask("POST", "/v1/mentions", OTHER) == 403
        assert ask("POST", "/v1/mentions%0A", OTHER) == 403
        assert appended(log) == []
        assert ask("POST", "/v1/mentions", TOKEN) == 202
        assert [ask("GET", "/metrics", token) for token in ("", TOKEN, OTHER)] == [401, 403, 200]
        eventually(lambda: ask("GET", "/readyz") == 200)
        assert [ask("GET", path) for path in ("/healthz", "/docs")] == [200, 200]


def test_full_backlog_stops_events_but_not_time(
    log: MemoryEventLog, dead_letters: DeadLetters
) -> None:
    """While the stream is behind events get 503; time passes on the log; then they are taken."""
    with opened(log, dead_letters, max_backlog=1) as client:
        assert client.post("/v1/mentions", json=batch("1", "2")).status_code == 202
        eventually(lambda: client.get("/readyz").status_code == 503)
        (reason,) = client.get("/readyz").json()["reasons"]
        assert reason.endswith("entries wait for the stream, at most 1 may")
        answer = client.post("/v1/mentions", json=batch("3"))
        check_refusal(answer, 503)
        assert "Retry-After" in answer.json()["error"]["remedy"]
        assert refused(client, "backlog") == 1
        watermark = log.read(0, 0, 100).watermark
        eventually(lambda: log.read(0, 0, 100).watermark > watermark)
        for part in range(log.partitions):
            log.acknowledge(part, log.read(part, 0, 100).position)
        eventually(lambda: client.get("/readyz").status_code == 200)
        assert client.post("/v1/mentions", json=batch("3")).status_code == 202
    assert len(appended(log)) == 3


def test_requests_at_a_time_are_bounded(
    log: MemoryEventLog, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside as many requests as may be inside, another one is told to come again."""
    append, inside, go_on = log.append, threading.Event(), threading.Event()

    def slow(events: list[Mention | Label]) -> list[Receipt]:
        inside.set()
        assert go_on.wait(10)
        return append(events)

    monkeypatch.setattr(log, "append", slow)
    with (
        opened(log, dead_letters, limits=Limits(requests=1)) as client,
        ThreadPoolExecutor() as pool,
    ):
        first = pool.submit(client.post, "/v1/mentions", json=batch("1"))
        assert inside.wait(10)
        check_refusal(client.post("/v1/mentions", json=batch("2")), 503)
        assert client.get("/healthz").status_code == 200
        go_on.set()
        assert first.result(10).status_code == 202
        assert client.post("/v1/mentions", json=batch("2")).status_code == 202


def test_log_that_is_away_takes_nothing_and_tells_nothing(
    log: MemoryEventLog, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that does not answer: 503 with Retry-After, nothing of its address, nothing kept."""

    def fail(_: object) -> object:
        raise LogUnavailableError("redis://user:secret@host", expected="an answer", found="none")

    with opened(log, dead_letters) as client:
        with monkeypatch.context() as patch:
            patch.setattr(log, "append", fail)
            answer = client.post("/v1/mentions", json=batch("1", "2", text=" "))
            assert answer.status_code == 503
            answer = client.post("/v1/mentions", json=batch("1"))
        check_refusal(answer, 503)
        assert "secret" not in answer.text
        assert refused(client, "log") == 2
        assert (log.size(), dead_letters.count()) == (0, 0)
        assert client.post("/v1/mentions", json=batch("1")).status_code == 202


def test_full_disk_appends_nothing_of_a_batch(tmp_path: Path, dead_letters: DeadLetters) -> None:
    """When the log's disk is full a batch is 503 as a whole, and goes in once there is room."""
    with (
        closing(SqliteEventLog(tmp_path / "log.db")) as log,
        opened(log, dead_letters, limits=Limits()) as client,
        closing(sqlite3.connect(tmp_path / "log.db")) as other,
    ):
        client.post("/v1/mentions", json=batch("0"))
        (pages,) = other.execute("PRAGMA page_count").fetchone()
        log._connection.execute(f"PRAGMA max_page_count = {pages}")
        large = batch(*"123", text="heat " * 1_900)
        check_refusal(client.post("/v1/mentions", json=large), 503)
        assert [mention.mention_id for mention in appended(log)] == ["0"]
        log._connection.execute(f"PRAGMA max_page_count = {pages + 1_000}")
        assert client.post("/v1/mentions", json=large).json()["accepted"] == 3


def test_batch_whose_answer_was_lost_counts_once(
    log: MemoryEventLog, dead_letters: DeadLetters
) -> None:
    """A sender that never saw the answer sends all again, and more: nothing stands twice."""
    with opened(log, dead_letters) as client:
        client.post("/v1/mentions", json=batch("1", "2"))
        answer = client.post("/v1/mentions", json=batch("2", "1", "3")).json()
    assert (answer["accepted"], answer["duplicates"]) == (1, 2)
    assert [mention.mention_id for mention in appended(log)] == ["1", "2", "3"]


def test_no_room_for_dead_letters_appends_nothing(
    log: MemoryEventLog, dead_letters: DeadLetters
) -> None:
    """What does not fit is never dropped: without room its batch waits, and other batches pass."""
    filler = [DeadLetter("old", "bad", b"x" * 2_000, START)]
    while dead_letters.has_room(filler):
        dead_letters.add(filler)
    mixed = {"mentions": [MENTION, {"mention_id": "2"}]}
    with opened(log, dead_letters) as client:
        check_refusal(client.post("/v1/mentions", json=mixed), 503)
        check_refusal(client.post("/v1/mentions", content=b"no JSON"), 503)
        assert (appended(log), refused(client, "dead_letters")) == ([], 2)
        assert client.post("/v1/mentions", json=batch("3")).status_code == 202
        dead_letters.forget("old")
        assert client.post("/v1/mentions", json=mixed).json()["accepted"] == 1
    assert json.loads(dead_letters.read(1)[0].raw) == {"mention_id": "2"}


def test_item_larger_than_the_room_left_appends_nothing(
    log: MemoryEventLog, tmp_path: Path
) -> None:
    """Room for small letters is none for a large one: its batch waits, a smaller one is kept."""
    with closing(DeadLetters(tmp_path / "other.db")) as empty:
        used = empty.used_bytes
    with (
        closing(DeadLetters(tmp_path / "dead.db", max_bytes=used + 4_000)) as dead_letters,
        opened(log, dead_letters) as client,
    ):
        mixed = {"mentions": [MENTION, {"mention_id": "2", "text": "x" * 5_000}]}
        check_refusal(client.post("/v1/mentions", json=mixed), 503)
        assert appended(log) == []
        mixed["mentions"][1]["text"] = "x"
        assert client.post("/v1/mentions", json=mixed).json()["accepted"] == 1
        assert dead_letters.count() == 1


def test_labels_beside_one_that_has_no_mention_count_once(
    log: MemoryEventLog, tmp_path: Path
) -> None:
    """Only the log knows that a label fits not: the others are in then, and duplicates later."""
    with (
        closing(DeadLetters(tmp_path / "dead.db", max_bytes=1)) as dead_letters,
        opened(log, dead_letters) as client,
    ):
        client.post("/v1/mentions", json=batch("1"))
        labels = [LABEL, LABEL | {"mention_id": "nobody's"}]
        check_refusal(client.post("/v1/labels", json={"labels": labels}), 503)
        answer = client.post("/v1/labels", json={"labels": labels[:1]}).json()
    assert (answer["accepted"], answer["duplicates"]) == (0, 1)


def test_log_that_hangs_leaves_readiness_alone(
    log: MemoryEventLog, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With appends waiting on all forty threads of the server, an orchestrator is answered."""
    append, inside, go_on = log.append, threading.Semaphore(0), threading.Event()

    def hang(events: list[Mention | Label]) -> list[Receipt]:
        inside.release()
        assert go_on.wait(60)
        return append(events)

    monkeypatch.setattr(log, "append", hang)
    with opened(log, dead_letters) as client, ThreadPoolExecutor(51) as pool:
        eventually(lambda: client.get("/readyz").status_code == 200)
        posts = [pool.submit(client.post, "/v1/mentions", json=batch(str(n))) for n in range(50)]
        try:
            assert all(inside.acquire(timeout=10) for _ in range(40))
            assert pool.submit(client.get, "/readyz").result(20).status_code == 200
        finally:
            go_on.set()
        assert {post.result(20).status_code for post in posts} == {202}


def test_compressed_body_is_refused(log: MemoryEventLog, dead_letters: DeadLetters) -> None:
    """A body that would have to be unpacked is 415, whatever it is; nothing of it is kept."""
    with opened(log, dead_letters) as client:
        for encoding, status in (("gzip", 415), ("zip", 415), ("Identity", 202)):
            headers = {"Content-Encoding": encoding}
            answer = client.post("/v1/mentions", json=batch("1"), headers=headers)
            assert answer.status_code == status
    assert dead_letters.count() == 0


def test_body_in_chunks_is_counted_as_it_comes(
    log: MemoryEventLog, dead_letters: DeadLetters
) -> None:
    """Without a length the limit holds all the same, and is told in the shape of every error."""
    with opened(log, dead_letters, limits=SMALL) as client:
        answer = client.post("/v1/mentions", content=(b" " * 1_000 for _ in range(20)))
        assert (answer.status_code, set(answer.json()["error"])) == (413, FIELDS)
        assert refused(client, "body") == 1
        content = iter([json.dumps(batch("1")).encode()])
        assert client.post("/v1/mentions", content=content).status_code == 202


@settings(max_examples=25)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(st.characters(codec=None)),
        lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    )
)
def test_whatever_an_item_is_it_is_answered(item: object) -> None:
    """Huge numbers, halves of characters, depth: each is a rejected item, kept as it came."""
    log = MemoryEventLog()
    with closing(DeadLetters(Path(":memory:"))) as letters, opened(log, letters) as client:
        raw = json.dumps(item)
        answer = client.post("/v1/mentions", content=f'{{ "mentions" :\n[ {raw} ] }}')
        assert answer.status_code == 422
        assert letters.read()[0].raw.decode("utf-8", "surrogatepass") == raw


def test_deep_item_is_rejected_and_the_others_taken() -> None:
    """However deep an item is, it stops no other; from where it cannot be read, it is no JSON."""
    taken = 0
    good = json.dumps(batch("a")["mentions"])[1:-1]
    for depth in range(900, 1_101):
        raw = "[" * depth + "]" * depth
        log = MemoryEventLog()
        with closing(DeadLetters(Path(":memory:"))) as letters, opened(log, letters) as client:
            answer = client.post("/v1/mentions", content=f'{{"mentions": [{raw}, {good}]}}')
            assert answer.status_code in {202, 400}, depth
            if answer.status_code == 202:
                taken += 1
                assert answer.json()["accepted"] == 1
                assert letters.read()[0].raw.decode() == raw
    assert 0 < taken < 201


@pytest.mark.parametrize(
    "body",
    [
        '{"mentions": [ {"a": "],[\\"" , "b": [1, {}]} , 3 ]}',
        ' { "mentions" : [1],\n"mentions": [ {"a": "],[\\"" , "b": [1, {}]} ,\r\n\t3]} ',
        '{"mentions": {"x": [7, 8]}, "mentions": [{"a": "],[\\"" , "b": [1, {}]},3]}',
    ],
)
def test_item_is_kept_as_it_came(body: str) -> None:
    """Brackets in texts, spaces and a list that a later one replaces mislead nobody."""
    found = Batch.read("mentions", body.encode(), 10)
    assert [found.raw(index) for index in range(2)] == [
        b'{"a": "],[\\"" , "b": [1, {}]}',
        b"3",
    ]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("FTI_FEATURES_BURST", "10", "no less than FTI_FEATURES_MAX_BATCH"),
        ("FTI_FEATURES_EVENTS_PER_SECOND", "0", "greater than 0"),
    ],
)
def test_limits_that_make_no_sense_are_refused(name: str, value: str, told: str) -> None:
    """A burst that no full batch fits, or no rate at all, stops the service with a reason."""
    with pytest.raises(SettingsError, match=told):
        load_settings(FeatureSettings, {name: value})
