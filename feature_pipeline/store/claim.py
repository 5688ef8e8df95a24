"""Whose features a home holds. Stored states and tables fit one set of labels and windows only."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from shared.errors import StateError
from shared.task import Task
from shared.validation import shown


def claim_home(folder: Path, task: Task, *, anew: bool) -> None:
    """Claim a home for a task, or check that it is the task's already.

    Args:
        folder: the feature pipeline's folder in the home.
        task: whose labels and windows are to be used.
        anew: whether everything is about to be written anew, so that both may change.

    Raises:
        StateError: the home belongs to another task, or to other labels or windows of this one; or
            the file that tells is damaged.
    """
    path = folder / "task.json"
    wanted = {
        "name": task.name,
        "labels": task.labels,
        "windows": {span.name: span.tile.total_seconds() for span in task.activity.spans},
    }
    if path.exists():
        found = _read(path, wanted.keys())
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
    with unfinished.open("wb") as file:
        file.write(json.dumps(wanted).encode())
        file.flush()
        os.fsync(file.fileno())  # else a machine that fails may leave an empty file under the name
    unfinished.replace(path)


def _read(path: Path, names: Collection[str]) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(found, dict) or not found.keys() >= set(names):
        raise _damaged(path, shown(found))
    return found


def _damaged(path: Path, found: str) -> StateError:
    return StateError(
        str(path),
        expected="a task's name, labels and windows",
        found=found,
        remedy="Bring the file back from a backup; or delete it, if the task file's labels and"
        " windows are those that this home was made with.",
    )
