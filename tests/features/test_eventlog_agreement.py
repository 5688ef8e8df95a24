"""Whatever is done to them, all event logs answer alike."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_pipeline.eventlog.memory import MemoryEventLog
from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.eventlog.redis.log import RedisEventLog
from feature_pipeline.eventlog.sqlite import SqliteEventLog
from shared.errors import StateError
from shared.events import Label, Mention
from tests.conftest import running_redis
from tests.features.conftest import START, TurnableClock
from tests.redis_server import RedisServer

_names = count()
_ids = st.sampled_from(["m1", "m2", "m3", "ü", '"', "{m}", "m\u0000"])
_keys = st.sampled_from(["heat", "alien", "brazil", "ann"])
_positions = st.integers(0, 12)
_events = st.one_of(
    st.builds(
        Mention,
        mention_id=_ids,
        subject_id=_keys,
        source_id=_keys,
        text=st.just("a text") | st.text(min_size=1).map("x".__add__),
        published_at=st.just(START),
        language=st.sampled_from([None, "de"]),
    ),
    st.builds(
        Label, mention_id=_ids, label=st.sampled_from(["bad", "good"]), labelled_at=st.just(START)
    ),
)
_actions = st.one_of(
    st.tuples(st.just("append"), st.lists(_events, max_size=8)),
    st.tuples(st.just("turn"), st.sampled_from([-60.0, 0.000001, 5.0])),
    st.tuples(st.just("heartbeat")),
    st.tuples(st.just("read"), st.integers(0, 1), _positions, st.integers(1, 5)),
    st.tuples(st.just("acknowledge"), st.integers(0, 1), _positions),
    st.tuples(st.just("trim"), st.integers(0, 1), st.integers(1, 12)),
    st.tuples(st.just("acknowledged"), st.integers(0, 1)),
    st.tuples(st.just("backlog")),
    st.tuples(st.just("size")),
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as running:
        yield running


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example has its own log
)
@given(actions=st.lists(_actions, max_size=15))
def test_logs_agree(server: RedisServer, actions: list[tuple[object, ...]]) -> None:
    """Receipts, entries, watermarks, counts and refusals are those of the log in memory."""
    clock = TurnableClock()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        logs: list[EventLog] = [
            stack.enter_context(closing(log))
            for log in (
                MemoryEventLog(2, clock),
                SqliteEventLog(Path(folder) / "log.db", 2, clock),
                RedisEventLog(server.address, f"log{next(_names)}", 2, clock),
            )
        ]
        for name, *arguments in [*actions, ("read", 0, 0, 100), ("read", 1, 0, 100)]:
            if name == "turn":
                clock.turn(seconds=float(str(arguments[0])))
                continue
            first, *others = [_outcome(log, str(name), arguments) for log in logs]
            assert all(other == first for other in others), (name, arguments)


def _outcome(log: EventLog, name: str, arguments: list[object]) -> object:
    """Return what a call returns, or the text of its refusal."""
    try:
        answer = getattr(log, name)(*arguments)
    except StateError as error:
        return str(error)
    if name == "append":
        return [(receipt.status, str(receipt.error)) for receipt in answer]
    return answer
