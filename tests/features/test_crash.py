"""Killed at any moment, the gateway and the stream worker lose nothing and count nothing twice."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path

import httpx
import polars as pl
import pytest
from feast import FeatureStore

from feature_pipeline.definition.records import KnownEvent, KnownLabel, KnownMention
from feature_pipeline.definition.transform import EventTables, Tables, empty_states, transform
from feature_pipeline.eventlog.sqlite import SqliteEventLog
from shared.feature_store import open_feature_store
from shared.features import KNOWN_AT, ROLES
from shared.places import Places, offline_folder
from shared.task import load_task

_TASK = """
name = "reviews"
labels = ["bad", "good"]
[input]
format = "csv"
columns = { text = "text", published_at = "date" }
[activity.windows]
"4s" = "1s"
"1h" = "1m"
[training]
base = "none"
"""
_BATCHES = 6
_SECONDS = 60.0


class Pipeline:
    """The gateway and the stream worker as processes of one home."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        home.mkdir()
        self.home = home
        self.task_file = home.parent / "reviews.toml"
        self.task_file.write_text(_TASK)
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if name[:4] != "FTI_"},
            "FTI_HOME": str(home),
            "FTI_TASK": str(self.task_file),
            "FTI_FEATURES_PORT": str(port),
            "FTI_FEATURES_HEARTBEAT_SECONDS": "0.2",
            "FTI_FEATURES_EPOCH_SECONDS": "0.5",
        }

    @contextmanager
    def running(self, command: str, ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command from when it is ready until the context ends; it is killed then."""
        with (self.home.parent / f"{command}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "feature_pipeline", command],
                env=self._environment,
                stderr=log,
                stdout=log,
            )
        try:
            until(lambda: process.poll() is None and ready(), command)
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

    @cached_property
    def store(self) -> FeatureStore:
        """The feature store that the worker writes."""
        return open_feature_store(Places.embedded(self.home))

    def answers(self) -> bool:
        """Tell whether the gateway is ready."""
        try:
            return httpx.get(f"{self.url}/readyz").is_success
        except httpx.TransportError:
            return False

    def post(self, number: int) -> dict[str, int]:
        """Post mentions, some for the second time, and labels, some of which correct."""
        mentions = [
            {
                "mention_id": f"m{i}",
                "subject_id": f"film {i % 3}",
                "source_id": f"critic {i % 2}",
                "text": f"text {i}",
                "published_at": "2026-01-01T00:00:00Z",
            }
            for i in range(max(0, number * 10 - 3), number * 10 + 10)
        ]
        labels = [
            {"mention_id": f"m{i}", "label": label, "labelled_at": "2026-01-02T00:00:00Z"}
            for i, label in ((number * 10, "bad"), (number * 10 // 2, "good"))
        ]
        answer = httpx.post(f"{self.url}/v1/mentions", json={"mentions": mentions})
        httpx.post(f"{self.url}/v1/labels", json={"labels": labels}).raise_for_status()
        counts: dict[str, int] = answer.raise_for_status().json()
        return counts

    def written(self, view: str) -> pl.DataFrame:
        """Return the rows of an offline table; none before it is made."""
        path = offline_folder(self.home) / view
        return pl.read_delta(str(path)) if (path / "_delta_log").is_dir() else pl.DataFrame()

    def expected(self) -> Tables:
        """Return what one undisturbed batch over the log's events gives."""
        events: dict[datetime, KnownEvent] = {}
        with closing(SqliteEventLog(self.home / "features" / "log.db")) as log:
            for partition in range(log.partitions):
                batch = log.read(partition, 0, 10_000)
                events |= {entry.event.known_at: entry.event for entry in batch.entries}
        known = EventTables.of(
            [event for event in events.values() if isinstance(event, KnownMention)],
            [event for event in events.values() if isinstance(event, KnownLabel)],
        )
        task, now = load_task(self.task_file), datetime.now(UTC)
        return transform(task, empty_states(task), dict.fromkeys(ROLES, known), now)[1]


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition; fail when it does not come."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.05)


@pytest.mark.timeout(240)
def test_killed_gateway_and_stream_lose_and_double_nothing(tmp_path: Path) -> None:
    """After kill -9 amid writes, offline and online end as an undisturbed batch has it."""
    pipeline = Pipeline(tmp_path / "home")
    accepted = 0
    for number in range(_BATCHES):
        with pipeline.running("serve", pipeline.answers):
            accepted += pipeline.post(number)["accepted"]
        if number % 2:
            # Killed as soon as it has written something new: before, in or after its epoch's end.
            seen = pipeline.written("mention_text").height
            with pipeline.running("stream", partial(_wrote_more_than, pipeline, seen)):
                pass
    assert accepted == _BATCHES * 10
    with pipeline.running("serve", pipeline.answers), pipeline.running("stream", lambda: True):
        # Until the short window has forgotten everything, so that nothing changes any more.
        until(lambda: _online_is_settled(pipeline), "the online features to settle")
    for view, rows in pipeline.expected().items():
        written = pipeline.written(view)
        order = [rows.columns[0] if "activity" in view else "mention_id", KNOWN_AT]
        assert rows.sort(order).equals(written.select(rows.columns).sort(order)), view


def _wrote_more_than(pipeline: Pipeline, rows: int) -> bool:
    return pipeline.written("mention_text").height > rows


def _online_is_settled(pipeline: Pipeline) -> bool:
    """Tell whether online shows the last row of each subject, with the short window empty."""
    names = ["mentions_4s", "mentions_1h", "bad_1h", "good_1h"]
    changelog = pipeline.expected()["subject_activity"].sort(KNOWN_AT)
    last = changelog.group_by("subject_id", maintain_order=True).last()
    online = pipeline.store.get_online_features(
        features=[f"subject_activity:{name}" for name in names],
        entity_rows=last.select("subject_id").to_dicts(),
    ).to_dict()
    wanted = last.select(names).to_dict(as_series=False)
    return set(wanted["mentions_4s"]) == {0} and {name: online[name] for name in names} == wanted
