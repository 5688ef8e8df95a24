"""What keeps a store in order: tending tables, trimming the log, comparing, Feast's own tools."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.consistency.meter import ConsistencyReport, measure
from feature_pipeline.consistency.reading import reading
from feature_pipeline.definition.transform import empty_tables
from feature_pipeline.maintenance.log_trimming import trim_before
from feature_pipeline.maintenance.tables import TableReport, Upkeep, tend_tables
from feature_pipeline.progress import Progress
from feature_pipeline.store.claim import claim_home
from feature_pipeline.store.feast_folder import write_feast_folder
from shared.feature_store import open_feature_store


def maintain(
    pipeline: FeaturePipeline, upkeep: Upkeep, now: datetime, progress: Progress
) -> list[TableReport]:
    """Tend the offline tables; all services may run."""
    with pipeline.sole_maintenance():
        return tend_tables(pipeline.task, pipeline.offline_tables(), upkeep, now, progress)


def trim_log(pipeline: FeaturePipeline, before: datetime, *, dry_run: bool) -> int:
    """Forget log entries from before a moment; return how many. All services may run."""
    with pipeline.sole_maintenance(), closing(pipeline.open_log()) as log:
        return trim_before(log, before, dry_run=dry_run)


def consistency(
    pipeline: FeaturePipeline, since: datetime, until: datetime, limit: int, bound: timedelta
) -> ConsistencyReport:
    """Compare served features with history, up to what the offline tables hold.

    Online rows count before they are committed, for a moment; while no worker runs or the tables
    are away, for as long as that lasts.
    """
    claim_home(pipeline.folder, pipeline.task, anew=False)
    with reading("all views"):
        held = pipeline.offline_tables().complete_until(
            empty_tables(pipeline.task), pipeline.settings.features_partitions
        )
    store = open_feature_store(pipeline.settings.places)
    return measure(store, since, min(until, held), limit, bound)


def apply_definitions(pipeline: FeaturePipeline) -> None:
    """Create or update what the task needs in the feature store; all services may run."""
    claim_home(pipeline.folder, pipeline.task, anew=False)
    pipeline.open_store()


def feast_repository(pipeline: FeaturePipeline, folder: Path) -> tuple[str, ...]:
    """Write a folder for Feast's own tools; return the variables that they need."""
    claim_home(pipeline.folder, pipeline.task, anew=False)
    return write_feast_folder(folder, pipeline.settings.task, pipeline.settings.places)
