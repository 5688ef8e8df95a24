"""A backfill of one size, in a process of its own; the parent is ``benchmark.py``."""

from __future__ import annotations

import argparse
import json
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.features.mentions import ENDS
from benchmarks.measure import Cost, measured
from feature_pipeline.batch.activity_parts import each_role, write_activity
from feature_pipeline.batch.history import History, read_history
from feature_pipeline.batch.text_rows import text_rows
from feature_pipeline.bootstrap.history import backfill
from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.definition.mention_features import mention_label
from feature_pipeline.progress import NoProgress
from feature_pipeline.settings import FeatureSettings
from feature_pipeline.store.offline_tables import OfflineTables
from shared.task import Task, load_task

KINDS = ("arithmetic", "delta", "texts", "command")
_PARTITIONS = 2


def run_trial(kind: str, task_file: Path, history: Path, folder: Path) -> dict[str, Cost]:
    """Measure one way to do the work.

    Args:
        kind: ``arithmetic`` computes the rows of both activity views, ``delta`` writes them to
            Delta besides, ``texts`` computes the rows of mentions and labels, ``command`` is the
            whole backfill, from the file into both sides of the store.
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
    return {"read": reading, kind: measured(_work(kind, task, read, folder))[1]}


def _work(kind: str, task: Task, history: History, folder: Path) -> Callable[[], object]:
    """Return a part of a backfill, done by what the backfill does it with."""
    events = history.events

    def arithmetic() -> None:
        each_role(task, events, ENDS, lambda _, parts: deque(parts, maxlen=0))

    def delta() -> None:
        offline = OfflineTables(str(folder))
        write_activity(task, events, ENDS, offline, partitions=_PARTITIONS, progress=NoProgress())

    def texts() -> None:
        text_rows(events.mentions)
        mention_label(events.labels)

    return {"arithmetic": arithmetic, "delta": delta, "texts": texts}[kind]


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
