"""A home with history and a stream behind it, whose stores tests damage."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from feature_pipeline.batch.history import read_history
from feature_pipeline.bootstrap.history import backfill
from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.progress import NoProgress
from feature_pipeline.settings import FeatureSettings
from shared.features import ROLES, activity_view
from shared.places import offline_folder
from tests.features.pipeline_processes import PipelineProcesses
from tests.features.stream_process import until

HISTORY = "id,text,film,critic,date,rating\n" + "".join(
    f"h{n},TEXT {n} &amp; more,film {n % 5},critic {n % 4},2026-03-01T10:00:{n:02},{rating}\n"
    for n in range(40)
    for rating in ("good" if n % 4 else "bad",)
)
NOW = datetime(2026, 3, 1, 10, 1, tzinfo=UTC)


class Home:
    """A home that has seen history and a stream, with events that the stream has not seen."""

    def __init__(self, folder: Path) -> None:
        self.processes = PipelineProcesses(folder / "home")
        self.pipeline = FeaturePipeline(
            FeatureSettings(home=self.processes.home, task=self.processes.task_file)
        )
        history = folder / "history.csv"
        history.write_text(HISTORY)
        backfill(self.pipeline, history, NOW, NoProgress())
        self.processes.history = read_history(history, self.processes.task, NOW).events
        self.stream_on(0, 40)
        self.processes.append(40, 60)

    def stream_on(self, first: int, last: int) -> None:
        """Append events, stream until all of them are saved, and check the stores.

        No gateway lets time pass, so the last event is where time stands.
        """
        self.processes.append(first, last)
        with self.processes.running("stream") as worker, closing(self.pipeline.open_log()) as log:
            until(lambda: log.backlog() == 0, "the stream to catch up")
        assert worker.exitcode == 0, self.processes.printed()
        self.processes.assert_complete(self.processes.expected(max(self.processes.events)))

    def let_windows_forget(self) -> None:
        """Let time pass until the short window is empty, and check the stores."""
        with self.processes.running("stream"):
            until(self.processes.settles, "decay")
        self.processes.assert_complete()

    def destroy(self) -> None:
        """Take away activity and the stream's state; online, leave wrong values of late date."""
        for view in ("subject_activity", "source_activity"):
            shutil.rmtree(self.table(view))
        with closing(sqlite3.connect(self.processes.home / "feast" / "online.db")) as online:
            for role in ROLES:
                online.execute(
                    f"UPDATE fti_{activity_view(role)} SET event_ts = '2100-01-01 00:00:00',"  # noqa: S608 - a fixed name
                    " value = (SELECT value FROM fti_subject_activity LIMIT 1)"
                )
            online.commit()
        shutil.rmtree(self.processes.home / "features" / "recovery")

    def table(self, view: str) -> Path:
        return offline_folder(self.processes.home) / view

    def trim_log(self) -> None:
        """Forget every entry that the stream has done with."""
        with closing(self.pipeline.open_log()) as log:
            for partition in range(log.partitions):
                assert len(log.acknowledged(partition)) > 0
                log.trim(partition, log.acknowledged(partition).stop)
