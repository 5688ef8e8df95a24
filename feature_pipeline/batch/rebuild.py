"""Rebuild: features are made anew from what is still there, and the stream goes on after it.

Mentions and labels stand in two places. The tables ``mention_text`` and ``mention_label`` hold what
the stream has done with, and history; the log holds what came since it was trimmed. A log entry is
trimmed only after the state that counts it was saved, hence after its row stood in the tables: the
two together hold everything, and what both hold is counted once. So a rebuild computes all activity
in one batch up to the watermark of the log, as a backfill does, and hands over the positions there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import polars as pl

from feature_pipeline.batch.activity_parts import each_role, write_activity
from feature_pipeline.batch.log_tail import LogTail, begins, read_tail
from feature_pipeline.batch.loss import check_no_loss
from feature_pipeline.batch.online_load import check_online, load_online
from feature_pipeline.batch.stored_events import (
    check_known,
    stored_events,
    united,
    without_strays,
)
from feature_pipeline.definition.mention_features import mention_label, mention_text
from feature_pipeline.definition.transform import EventTables
from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.progress import Progress
from feature_pipeline.store.handover import Handed, Handover
from feature_pipeline.store.offline_tables import OfflineTables
from feature_pipeline.store.online_views import OnlineViews
from shared.errors import StateError
from shared.features import KNOWN_AT, MENTION_LABEL, MENTION_TEXT, ROLES
from shared.task import Task


class Origin(StrEnum):
    """What a rebuild believes."""

    OFFLINE = "offline"
    """All rows of ``mention_text`` and ``mention_label``, and the log for what they lack yet."""
    LOG = "log"
    """The log, for all that came after the last backfill or rebuild; the tables before that."""


@dataclass(frozen=True)
class RebuildReport:
    """What a rebuild did.

    Attributes:
        left_out: labels that are not counted, since retention has dropped their mentions.
        restored: rows of ``mention_text`` and ``mention_label`` that were missing or wrong.
        watermark: all that was known up to here is counted; the stream goes on after it.
    """

    mentions: int
    labels: int
    left_out: int
    restored: dict[str, int]
    table_rows: dict[str, int]
    online_keys: dict[str, int]
    watermark: datetime


@dataclass(frozen=True)
class Rebuild:
    """Makes activity offline and online, and the stream's state, anew.

    Interrupted at any point, it is run again; until then the stream refuses to start.

    Attributes:
        open_store: opens the feature store as it is.
        empty_store: opens it with nothing online.
    """

    task: Task
    open_store: Callable[[], tuple[OfflineTables, OnlineViews]]
    empty_store: Callable[[], tuple[OfflineTables, OnlineViews]]
    log: EventLog
    handover: Handover
    progress: Progress

    def run(self, origin: Origin, *, accept_loss: bool = False) -> RebuildReport:
        """Rebuild.

        Args:
            origin: what to believe.
            accept_loss: go on although tables and log hold less than was counted once, or what
                was counted cannot be read.

        Raises:
            StateError: a backfill was interrupted; an event does not tell of whom it is; tables and
                log hold less than the last backfill or rebuild counted; or the log, which is the
                ``origin``, has been trimmed since. Nothing is changed.
        """
        self.handover.check_finished("backfill")
        with self.progress.step("Opening the feature store"):
            offline, _ = self.open_store()
        from_log = origin is Origin.LOG
        handed = self._handed(needed=from_log, accept_loss=accept_loss)
        with self.progress.step("Reading the event log", self.log.size()) as read:
            after = handed.positions if from_log else begins(self.log)
            tail = read_tail(self.log, after, read)
        with self.progress.step("Reading mentions and labels"):
            stored = stored_events(offline, handed.watermark if from_log else tail.watermark)
        with self.progress.step("Joining the two"):
            if from_log:
                self._check_history(stored, handed)
            events, left_out = without_strays(united(stored, tail.all_events()))
            check_known(events)
            if not from_log and not accept_loss:
                check_no_loss(
                    self.task,
                    offline,
                    events,
                    handed,
                    now=datetime.now(UTC),
                    partitions=self.log.partitions,
                    trimmed=any(begins(self.log).values()),
                )
        self.handover.begin("rebuild")
        restored = self._restore(offline, tail, handed.watermark if from_log else None)
        activity = write_activity(
            self.task,
            events,
            tail.watermark,
            offline,
            partitions=self.log.partitions,
            progress=self.progress,
        )
        check_online(activity.latest)
        with self.progress.step("Emptying the online store"):
            _, online = self.empty_store()
        online_keys = load_online(online, activity.latest, self.progress)
        self.handover.save(activity.states, tail.positions)
        self.handover.finish()
        return RebuildReport(
            mentions=events.mentions.height,
            labels=events.labels.height,
            left_out=left_out,
            restored=restored,
            table_rows=activity.rows,
            online_keys=online_keys,
            watermark=tail.watermark,
        )

    def _handed(self, *, needed: bool, accept_loss: bool) -> Handed:
        """Return what was handed over last; nothing where that cannot be read, and need not be."""
        if accept_loss and not needed:
            return Handed.nothing(self.task)
        try:
            return self.handover.last(self.task)
        except StateError:
            # A rebuild that ended while it wrote them had checked that nothing would be lost.
            if needed or not self.handover.interrupted:
                raise
            return Handed.nothing(self.task)

    def _check_history(self, stored: EventTables, handed: Handed) -> None:
        """Check that the tables hold what the last backfill or rebuild counted."""
        history, _ = without_strays(stored)
        counted = each_role(self.task, history, handed.watermark, lambda _, parts: deque(parts, 0))
        for role in ROLES:
            found, wanted = counted.states[role].totals, handed.states[role].totals
            if not found.sort("key").equals(wanted.select(found.columns).sort("key")):
                raise StateError(
                    f"{MENTION_TEXT} and {MENTION_LABEL} up to {handed.watermark:%Y-%m-%d %H:%M}",
                    expected=f"the mentions and labels of the {wanted.height:,} {role}s that the "
                    "last backfill or rebuild counted",
                    found=f"others, of {found.height:,} {role}s",
                    remedy="Bring the tables back from a backup; or believe them as they are: "
                    "`--from offline --accept-loss`.",
                )

    def _restore(
        self, offline: OfflineTables, tail: LogTail, history_until: datetime | None
    ) -> dict[str, int]:
        """Bring what the log holds into the tables of mentions and of labels."""
        restored = {}
        for view, rows_of in _STORED_VIEWS.items():
            parts = {part: (rows_of(tail.events[part]), tail.watermark) for part in tail.events}
            with self.progress.step(f"Bringing {view} up to date"):
                restored[view] = offline.append(view, parts)
                if history_until is None:
                    continue
                found = offline.read(view).sort(KNOWN_AT, "mention_id")
                history = found.filter(pl.col(KNOWN_AT) <= history_until)
                logged = [rows.select(found.columns) for rows, _ in parts.values()]
                wanted = pl.concat([history, *logged]).sort(KNOWN_AT, "mention_id")
                if not found.equals(wanted):
                    offline.replace(view, wanted, tail.watermark, self.log.partitions)
                    wrong = wanted.join(found, on=wanted.columns, how="anti", nulls_equal=True)
                    restored[view] += wrong.height
        return restored


_STORED_VIEWS: dict[str, Callable[[EventTables], pl.DataFrame]] = {
    MENTION_TEXT: lambda events: mention_text(events.mentions),
    MENTION_LABEL: lambda events: mention_label(events.labels),
}
