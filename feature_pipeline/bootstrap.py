"""The composition root: the only place that names the concrete parts of the feature pipeline."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from datetime import datetime, timedelta
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from feature_pipeline.batch.backfill import Backfill, BackfillReport, Progress
from feature_pipeline.dead_letters import DeadLetters
from feature_pipeline.eventlog.sqlite import SqliteEventLog
from feature_pipeline.gateway.app import create_app
from feature_pipeline.gateway.heartbeat import Heartbeat
from feature_pipeline.gateway.intake import Intake
from feature_pipeline.settings import FeatureSettings
from feature_pipeline.store.claim import claim_home
from feature_pipeline.store.feature_repository import apply_task
from feature_pipeline.store.handover import Handover
from feature_pipeline.store.offline_tables import OfflineTables
from feature_pipeline.store.online_views import OnlineViews
from feature_pipeline.stream.dataflow import StreamWorker
from feature_pipeline.stream.sink import FeatureStoreSink
from shared.feature_store import open_feature_store, registry_errors
from shared.file_lock import hold_file
from shared.task import Task, load_task


class FeaturePipeline:
    """The feature pipeline of one task, its own state below one FTI_HOME."""

    def __init__(self, settings: FeatureSettings) -> None:
        self.settings = settings
        self.task: Task = load_task(settings.task)
        self._folder = settings.home / "features"

    def open_log(self) -> SqliteEventLog:
        """Open the event log."""
        return SqliteEventLog(self._folder / "log.db", self.settings.features_partitions)

    def open_dead_letters(self) -> DeadLetters:
        """Open the dead-letter table."""
        return DeadLetters(self._folder / "dead_letters.db")

    def open_store(self, *, anew: bool = False) -> tuple[OfflineTables, OnlineViews]:
        """Open both sides of the feature store; the task's views stand in it afterwards."""
        places = self.settings.places
        store = open_feature_store(places)
        tables = OfflineTables(places.offline_store)
        with registry_errors(store):
            apply_task(self.task, store, tables, anew=anew)
        return tables, OnlineViews(store)

    def backfill(
        self, path: Path, now: datetime, progress: Progress, hold_back: int = 0
    ) -> BackfillReport:
        """Load a file of history."""
        with (
            self._sole_writer(),
            self._sole_gateway(),
            closing(self.open_log()) as log,
            closing(self.open_dead_letters()) as dead_letters,
        ):
            backfill = Backfill(
                task=self.task,
                claim=lambda: claim_home(self._folder, self.task, anew=True),
                open_store=lambda: self.open_store(anew=True),
                log=log,
                handover=Handover(self._folder),
                dead_letters=dead_letters,
                progress=progress,
            )
            return backfill.run(path, now, hold_back)

    def _sole_writer(self) -> AbstractContextManager[None]:
        """Keep a second stream worker or backfill from writing the same features."""
        return hold_file(
            self._folder / "writer.lock",
            place=f"features in FTI_HOME {self.settings.home}",
            remedy="A stream worker or a backfill runs there: stop it first.",
        )

    def _sole_gateway(self) -> AbstractContextManager[None]:
        """Keep events from being posted while history is loaded."""
        return hold_file(
            self._folder / "gateway.lock",
            place=f"event log in FTI_HOME {self.settings.home}",
            remedy="A gateway or a backfill runs there: stop it first.",
        )

    def gateway(self, log: SqliteEventLog, dead_letters: DeadLetters) -> FastAPI:
        """Return the gateway's application."""
        return create_app(
            Intake(self.task, log, dead_letters, self.settings.features_max_batch),
            log,
            Heartbeat(log, self.settings.features_heartbeat_seconds),
            max_body_bytes=self.settings.features_max_body_bytes,
        )

    def serve(self) -> None:
        """Run the gateway until SIGTERM or Ctrl-C."""
        claim_home(self._folder, self.task, anew=False)
        with (
            self._sole_gateway(),
            closing(self.open_log()) as log,
            closing(self.open_dead_letters()) as dead_letters,
        ):
            uvicorn.run(
                self.gateway(log, dead_letters),
                host=self.settings.features_host,
                port=self.settings.features_port,
                log_config=None,
                access_log=False,
            )

    def stream(self) -> None:
        """Run the stream worker until SIGTERM or Ctrl-C."""
        handover = Handover(self._folder)
        claim_home(self._folder, self.task, anew=False)
        with self._sole_writer(), closing(self.open_log()) as log:
            StreamWorker(
                task=self.task,
                log=log,
                sink=FeatureStoreSink(self.open_store),
                initial=lambda partition: handover.load(self.task, partition, log.partitions),
                recovery=handover.recovery,
                poll=timedelta(seconds=self.settings.features_poll_seconds),
                read_limit=self.settings.features_read_limit,
                epoch=timedelta(seconds=self.settings.features_epoch_seconds),
            ).run()
