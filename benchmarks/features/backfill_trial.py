"""A backfill of one size, in a process of its own; the parent is ``benchmark.py``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.features.mentions import ENDS
from benchmarks.measure import Cost, measured
from feature_pipeline.batch.history import read_history
from feature_pipeline.bootstrap.history import backfill
from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.definition.transform import Tables, empty_states, transform
from feature_pipeline.progress import NoProgress
from feature_pipeline.settings import FeatureSettings
from feature_pipeline.store.offline_tables import OfflineTables
from shared.features import ROLES, activity_view
from shared.task import load_task

KINDS = ("arithmetic", "delta", "command")


def run_trial(kind: str, task_file: Path, history: Path, folder: Path) -> dict[str, Cost]:
    """Measure one way to do the work.

    Args:
        kind: ``arithmetic`` computes the rows of all views, ``delta`` writes those of both activity
            views to Delta besides, ``command`` is the whole backfill, from the file into both
            sides of the store.
        task_file: the task.
        history: the file of mentions.
        folder: an empty one, for what is written.
    """
    task = load_task(task_file)
    if kind == "command":
        settings = FeatureSettings(home=folder, task=task_file)
        pipeline = FeaturePipeline(settings)
        return {kind: measured(lambda: backfill(pipeline, history, ENDS, NoProgress()))[1]}
    read, reading = measured(lambda: read_history(history, task, ENDS))
    activity = [activity_view(role) for role in ROLES]

    def compute() -> Tables:
        events = dict.fromkeys(ROLES, read.events)
        return transform(task, empty_states(task), events, ENDS)[1]

    def compute_and_write() -> None:
        tables, offline = compute(), OfflineTables(str(folder))
        for view in activity:
            offline.replace(view, tables[view], ENDS, partitions=2)

    work = {"arithmetic": compute, "delta": compute_and_write}[kind]
    return {"read": reading, kind: measured(work)[1]}


def main() -> None:
    """Run one trial and write its costs as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features.backfill_trial")
    parser.add_argument("answer", type=Path)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("task", type=Path)
    parser.add_argument("history", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    costs = run_trial(options.kind, options.task, options.history, options.folder)
    options.answer.write_text(json.dumps({name: asdict(cost) for name, cost in costs.items()}))


if __name__ == "__main__":
    main()
