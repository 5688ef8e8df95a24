"""Results that were kept because the registry was away: registered when it is back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.logs import get_logger
from training_pipeline.service.run_folder import RESULT_FILE, RunFolder, result_in
from training_pipeline.service.runs.run import RunState
from training_pipeline.service.runs.store import RunStore
from training_pipeline.service.runs.transitions import claim_kept, leave_kept
from training_pipeline.service.work.execution import finished_as

_log = get_logger(__name__)

_REGISTER_SECONDS = 600.0
REGISTER = (sys.executable, "-m", "training_pipeline", "register")


class KeptResults:
    """Registers what this machine keeps, by the command that people use for it, too."""

    def __init__(
        self,
        store: RunStore,
        home: Path,
        worker: str,
        environment: Mapping[str, str],
        *,
        command: Sequence[str] = REGISTER,
    ) -> None:
        """Take what is needed.

        Args:
            store: holds the runs.
            home: the training pipeline's own folder.
            worker: the name under which runs are claimed.
            environment: of the command.
            command: registers the folder that ``--kept`` names, and leaves a result there.
        """
        self._store = store
        self._home = home
        self._worker = worker
        self._environment = dict(environment)
        self._command = tuple(command)

    def register(self) -> None:
        """Try each kept result of a requested run once.

        Raises:
            StateError: the run store is away.
        """
        kept = self._home / "kept"
        for folder in sorted(kept.iterdir()) if kept.exists() else ():
            run = self._store.get(folder.name)
            if run is not None and run.state is RunState.UNREGISTERED:
                self._register(RunFolder(self._home, run.run_id), run.run_id)

    def _register(self, folder: RunFolder, run_id: str) -> None:
        lease = timedelta(seconds=2 * _REGISTER_SECONDS)
        now = datetime.now(UTC)
        if self._store.change(run_id, claim_kept(self._worker, now, lease), now) is None:
            return
        exit_code = self._run(folder)
        result = result_in(folder.kept / RESULT_FILE)
        now = datetime.now(UTC)
        if result is None:
            _log.warning("kept result is not registered yet", run_id=run_id, exit_code=exit_code)
            self._store.change(run_id, leave_kept(self._worker), now)
            return
        self._store.change(run_id, finished_as(self._worker, result), now)
        folder.remove()
        _log.info("kept result is registered", run_id=run_id, version=result.version)

    def _run(self, folder: RunFolder) -> int | None:
        with folder.log.open("ab") as log:
            try:
                return subprocess.run(  # noqa: S603 - own program
                    [*self._command, "--kept", str(folder.kept)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    timeout=_REGISTER_SECONDS,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                return None
