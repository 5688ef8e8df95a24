"""What runs leave on this machine's disk, and how long it stays."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.logs import get_logger
from training_pipeline.service.run_folder import RunFolder
from training_pipeline.service.runs.store import RunStore

_log = get_logger(__name__)

_SILENT = timedelta(days=1)
"""A worker that was not heard of for so long is forgotten."""


class Leftovers:
    """Removes folders of final runs at once, logs and events of those that ended long ago."""

    def __init__(self, store: RunStore, home: Path, keep: timedelta) -> None:
        """Take what is needed.

        Args:
            store: knows which runs are final.
            home: the training pipeline's own folder.
            keep: how long logs and events stay.
        """
        self._store = store
        self._home = home
        self._keep = keep

    def remove(self) -> None:
        """Remove what nobody needs.

        Raises:
            StateError: the run store is away.
            OSError: something cannot be removed.
        """
        now = datetime.now(UTC)
        for run_id in self._names("runs") | self._names("kept"):
            run = self._store.get(run_id)
            if run is not None and run.final:
                RunFolder(self._home, run_id).remove()
        oldest = time.time() - self._keep.total_seconds()
        for log in (self._home / "logs").glob("*.log"):
            # By the file's own time: a log may be of a run that no store knows any more.
            if log.stat().st_mtime < oldest:
                run = self._store.get(log.stem)
                if run is None or run.final:
                    log.unlink(missing_ok=True)
        events = self._store.forget_events(now - self._keep)
        for worker in self._store.workers(datetime.min.replace(tzinfo=UTC)):
            if worker.heard_at < now - _SILENT:
                self._store.sign_off(worker.name)
        _log.debug("leftovers removed", events=events)

    def _names(self, folder: str) -> set[str]:
        path = self._home / folder
        return {entry.name for entry in path.iterdir()} if path.exists() else set()
