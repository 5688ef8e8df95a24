"""What a stream worker tells when its dataflow ends with an error."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path

import pytest

from feature_pipeline.definition.transform import empty_states
from feature_pipeline.eventlog.memory import MemoryEventLog
from feature_pipeline.stream.dataflow import StreamWorker
from feature_pipeline.stream.sink import FeatureStoreSink
from feature_pipeline.stream.writer import StoreWriter
from shared.errors import StateError
from shared.task import Task


def _away() -> StoreWriter:
    driver = ConnectionError("Error 111 connecting to 127.0.0.1:6379")
    raise StateError("online store", expected="a server", found="none") from driver


def test_error_that_tells_what_to_do_is_raised_and_not_the_drivers(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the driver raised stands below the error that was made from it, and stays there."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    worker = StreamWorker(
        task=task,
        log=MemoryEventLog(),
        sink=FeatureStoreSink(_away),
        initial=lambda _: empty_states(task),
        begin_after=lambda _: 0,
        recovery=tmp_path / "recovery",
        poll=timedelta(0),
        read_limit=10,
        epoch=timedelta(seconds=1),
    )
    with pytest.raises(StateError, match="online store: expected a server"):
        worker.run()
