"""Backfill: a file of history runs through the batch path into both sides of the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from feature_pipeline.batch.activity_parts import write_activity
from feature_pipeline.batch.history import History, read_history
from feature_pipeline.batch.online_load import load_online
from feature_pipeline.batch.text_rows import text_rows
from feature_pipeline.dead_letters import DeadLetters
from feature_pipeline.definition.mention_features import mention_label
from feature_pipeline.definition.transform import Tables
from feature_pipeline.eventlog.port import EventLog, not_empty
from feature_pipeline.progress import Progress
from feature_pipeline.store.handover import Handover
from feature_pipeline.store.offline_tables import OfflineTables
from feature_pipeline.store.online_views import OnlineViews
from shared.errors import InputError, StateError
from shared.features import MENTION_LABEL, MENTION_TEXT
from shared.task import Task


@dataclass(frozen=True)
class BackfillReport:
    """What a backfill did."""

    rows: int
    mentions: int
    labels: int
    duplicates: int
    rejected: int
    watermark: datetime
    first_reasons: list[str]
    table_rows: dict[str, int] = field(default_factory=dict)
    online_keys: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Backfill:
    """Loads history, in place of what was loaded before.

    Interrupted at any point, it is run again: nothing is counted twice. The log is told first, as
    it may refuse. From then on what was loaded before is lost: when a later step fails, such as
    the computing of activity for want of memory, gateway and stream refuse to start until a
    backfill succeeds. The labels go first of all tables and come last, so that training finds no
    labelled mention while anything is missing.
    """

    task: Task
    check_quality: Callable[[str, Tables], None]
    claim: Callable[[], None]
    open_store: Callable[[], tuple[OfflineTables, OnlineViews]]
    log: EventLog
    handover: Handover
    dead_letters: DeadLetters
    progress: Progress

    def run(self, path: Path, now: datetime, hold_back: int = 0) -> BackfillReport:
        """Load a file of history, all of which is known by ``now``.

        Args:
            path: the file.
            now: the moment up to which time has passed afterwards.
            hold_back: leave out so many of the newest mentions, to be posted as events later.

        Raises:
            InputError: the file cannot be read, more of its rows than the task allows were
                rejected, or they are not as the task expects; nothing is written then.
            StateError: events have been streamed already, or the store is another task's.
        """
        self._check_log()
        with self.progress.step(f"Reading {path.name}"):
            history = read_history(path, self.task, now)
        self.dead_letters.forget(f"{path.name}, ")
        self.dead_letters.add(history.rejected)
        history.check_rejected(path, self.task)
        if history.events.mentions.height <= hold_back:
            raise InputError(
                str(path),
                expected=f"more mentions than the {hold_back} to be held back",
                found=f"{history.events.mentions.height}",
                remedy="Hold back fewer, or bring more.",
            )
        history = history.without_newest(hold_back)
        with self.progress.step("Computing texts"):
            texts = text_rows(history.events.mentions)
            labels = mention_label(history.events.labels)
        with self.progress.step("Checking data quality"):
            self.check_quality(path.name, {MENTION_TEXT: texts, MENTION_LABEL: labels})
        self.claim()
        self._tell_log(history, now)
        with self.progress.step("Opening the feature store"):
            offline, online = self.open_store()
        partitions = self.log.partitions
        offline.replace(MENTION_LABEL, labels.clear(), now, partitions)
        with self.progress.step("Writing mentions"):
            offline.replace(MENTION_TEXT, texts, now, partitions)
        activity = write_activity(
            self.task, history.events, now, offline, partitions=partitions, progress=self.progress
        )
        online_keys = load_online(online, activity.latest, self.progress)
        self.handover.save(activity.states)
        offline.replace(MENTION_LABEL, labels, now, partitions)
        self.handover.finish()
        return BackfillReport(
            rows=history.rows,
            mentions=history.events.mentions.height,
            labels=history.events.labels.height,
            duplicates=history.duplicates,
            rejected=len(history.rejected),
            watermark=now,
            first_reasons=[letter.reason for letter in history.rejected[:3]],
            table_rows={
                **activity.rows,
                MENTION_TEXT: texts.height,
                MENTION_LABEL: labels.height,
            },
            online_keys=online_keys,
        )

    def _check_log(self) -> None:
        """Refuse a log that took events, also if all of them are trimmed."""
        partitions = range(self.log.partitions)
        trimmed = sum(self.log.acknowledged(partition).start - 1 for partition in partitions)
        if entries := self.log.size() + trimmed:
            raise not_empty(entries)

    def _tell_log(self, history: History, now: datetime) -> None:
        self.handover.begin("backfill")
        try:
            self.log.begin_after(now, history.events.mentions, history.events.labels)
        except StateError:
            # Somebody else appended since it was asked. The store is as it was.
            self.handover.finish()
            raise
