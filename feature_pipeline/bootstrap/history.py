"""Features from history: loading it, checking it, making features anew."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path

from feature_pipeline.batch.backfill import Backfill, BackfillReport
from feature_pipeline.batch.history import History, read_history
from feature_pipeline.batch.rebuild import Origin, Rebuild, RebuildReport
from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.definition.mention_features import mention_label, mention_text
from feature_pipeline.progress import Progress
from feature_pipeline.quality.gate import QualityGate
from feature_pipeline.quality.report import Report
from feature_pipeline.store.claim import claim_home
from feature_pipeline.store.handover import Handover
from shared.features import MENTION_LABEL, MENTION_TEXT


def backfill(
    pipeline: FeaturePipeline, path: Path, now: datetime, progress: Progress, hold_back: int = 0
) -> BackfillReport:
    """Load a file of history."""
    with (
        pipeline.sole_writer(),
        pipeline.sole_gateway(),
        closing(pipeline.open_log()) as log,
        closing(pipeline.open_dead_letters()) as dead_letters,
    ):
        return Backfill(
            task=pipeline.task,
            check_quality=_quality_gate(pipeline).check,
            claim=lambda: claim_home(pipeline.folder, pipeline.task, anew=True),
            open_store=lambda: pipeline.open_store(anew=True),
            log=log,
            handover=Handover(pipeline.folder),
            dead_letters=dead_letters,
            progress=progress,
        ).run(path, now, hold_back)


def rebuild(
    pipeline: FeaturePipeline, origin: Origin, progress: Progress, *, accept_loss: bool = False
) -> RebuildReport:
    """Make features anew from the log or the offline tables; no stream may run."""
    with (
        pipeline.sole_writer(),
        pipeline.sole_maintenance(),
        closing(pipeline.open_log()) as log,
    ):
        return Rebuild(
            task=pipeline.task,
            open_store=pipeline.open_store,
            empty_store=lambda: pipeline.open_store(anew=True),
            log=log,
            handover=Handover(pipeline.folder),
            progress=progress,
        ).run(origin, accept_loss=accept_loss)


def quality(pipeline: FeaturePipeline, path: Path, now: datetime) -> tuple[History, Report, Path]:
    """Report on a file of history without loading it; return it, and where the report stands, too.

    Raises:
        InputError: the file cannot be read, or more of its rows than the task allows were rejected.
    """
    history = read_history(path, pipeline.task, now)
    history.check_rejected(path, pipeline.task)
    events = history.events
    tables = {
        MENTION_TEXT: mention_text(events.mentions),
        MENTION_LABEL: mention_label(events.labels),
    }
    report, page = _quality_gate(pipeline).report(path.name, tables)
    return history, report, page


def _quality_gate(pipeline: FeaturePipeline) -> QualityGate:
    return QualityGate(pipeline.task, pipeline.folder / "quality")
