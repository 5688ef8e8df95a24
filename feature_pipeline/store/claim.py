"""Whose features a home holds. Stored states and tables fit one set of labels and windows only."""

from __future__ import annotations

import json
import os
from pathlib import Path

from shared.errors import StateError
from shared.task import Task


def claim_home(folder: Path, task: Task, *, anew: bool) -> None:
    """Claim a home for a task, or check that it is the task's already.

    Args:
        folder: the feature pipeline's folder in the home.
        task: whose labels and windows are to be used.
        anew: whether everything is about to be written anew, so that both may change.

    Raises:
        StateError: the home belongs to another task, or to other labels or windows of this one.
    """
    path = folder / "task.json"
    wanted = {
        "name": task.name,
        "labels": task.labels,
        "windows": {span.name: span.tile.total_seconds() for span in task.activity.spans},
    }
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        for name, remedy in (
            ("name", "Each task has its own FTI_HOME."),
            ("labels", "Labels are fixed once events were streamed: use another FTI_HOME."),
            ("windows", "Windows are fixed once events were streamed: use another FTI_HOME."),
        ):
            if found[name] != wanted[name] and not (anew and name != "name"):
                raise StateError(
                    f"FTI_HOME of task {task.name!r}, {name}",
                    expected=str(found[name]),
                    found=str(wanted[name]),
                    remedy=remedy,
                )
        if found == wanted:
            return
    folder.mkdir(parents=True, exist_ok=True)
    # Gateway and worker may start at once, and claim the same.
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(wanted), encoding="utf-8")
    unfinished.replace(path)
