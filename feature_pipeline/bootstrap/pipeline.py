"""The parts that all commands share: the log, the store, the locks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from feature_pipeline.dead_letters import DeadLetters
from feature_pipeline.eventlog.kafka.address import KAFKA, kafka_address
from feature_pipeline.eventlog.kafka.log import KafkaEventLog
from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.eventlog.redis.log import RedisEventLog
from feature_pipeline.eventlog.sqlite import SqliteEventLog
from feature_pipeline.settings import FeatureSettings
from feature_pipeline.store.claim import claim_home
from feature_pipeline.store.feature_repository import apply_task
from feature_pipeline.store.offline_tables import OfflineTables
from feature_pipeline.store.online_views import FeastRows, OnlineRows, OnlineViews
from feature_pipeline.store.redis_rows import RedisRows
from feature_pipeline.stream.cluster import ClusterMember
from shared.feature_store import open_feature_store, registry_errors
from shared.file_lock import hold_file
from shared.places import sqlite_path
from shared.redis_address import redis_client
from shared.task import Task, load_task

if TYPE_CHECKING:
    from feast import FeatureStore


class FeaturePipeline:
    """The feature pipeline of one task, its own state below one FTI_HOME."""

    def __init__(self, settings: FeatureSettings) -> None:
        self.settings = settings
        self.task: Task = load_task(settings.task)
        self.folder = settings.home / "features"

    def open_log(self) -> EventLog:
        """Open the event log."""
        address = self.settings.features_log.get_secret_value()
        partitions = self.settings.features_partitions
        if address.startswith(KAFKA):
            place = kafka_address(address, self.settings.features_kafka_config)
            return KafkaEventLog(place, partitions, self.folder / "kafka_ledger.db")
        if address:
            return RedisEventLog(address, self.task.name, partitions)
        return SqliteEventLog(self.folder / "log.db", partitions)

    def open_dead_letters(self) -> DeadLetters:
        """Open the dead-letter table."""
        return DeadLetters(
            self.folder / "dead_letters.db", self.settings.features_dead_letter_bytes
        )

    def open_store(self, *, anew: bool = False) -> tuple[OfflineTables, OnlineViews]:
        """Open both sides of the feature store; the task's views stand in it afterwards."""
        places = self.settings.places
        store = open_feature_store(places)
        tables = self.offline_tables()
        # Feast's registry takes one writer at a time; the processes of a cluster start together.
        applying = hold_file(
            self.folder / "apply.lock", place="feature registry", remedy="", wait=math.inf
        )
        with applying, registry_errors(store):
            apply_task(self.task, store, tables, anew=anew)
        return tables, OnlineViews(store, self._online_rows(store))

    def _online_rows(self, store: FeatureStore) -> OnlineRows:
        address = self.settings.places.online_store
        if sqlite_path(address) is None:
            return RedisRows(redis_client(address), store.project)
        return FeastRows(store)

    def sole_writer(self, *, shared: bool = False) -> AbstractContextManager[None]:
        """Keep a second stream worker, backfill or rebuild from writing the same features."""
        return hold_file(
            self.folder / "writer.lock",
            place=f"features in FTI_HOME {self.settings.home}",
            remedy="A stream worker, a backfill or a rebuild runs there: stop it first.",
            shared=shared,
        )

    @contextmanager
    def cluster_writer(self, member: ClusterMember) -> Iterator[None]:
        """Let the processes of one cluster write, each number once, and nobody beside them."""
        one = hold_file(
            self.folder / f"writer-{member.process}.lock",
            place=f"process {member.process} of the stream in FTI_HOME {self.settings.home}",
            remedy="It runs already: stop that cluster first.",
        )
        with self.sole_writer(shared=True), one:
            yield

    def sole_gateway(self) -> AbstractContextManager[None]:
        """Keep others from appending events: a gateway, a backfill or `dead-letters replay`."""
        return hold_file(
            self.folder / "gateway.lock",
            place=f"event log in FTI_HOME {self.settings.home}",
            remedy="A gateway, a backfill or `dead-letters replay` runs there: stop it first.",
        )

    def sole_maintenance(self) -> AbstractContextManager[None]:
        """Keep a second process from tending the offline tables."""
        claim_home(self.folder, self.task, anew=False)
        return hold_file(
            self.folder / "maintenance.lock",
            place=f"offline tables of FTI_HOME {self.settings.home}",
            remedy="They are being tended already: wait until that is done.",
        )

    def offline_tables(self) -> OfflineTables:
        """Return the offline side of the feature store."""
        return OfflineTables(
            self.settings.places.offline_store,
            timedelta(days=self.settings.features_keep_versions_days),
        )
