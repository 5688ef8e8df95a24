"""A training run as a child process, which can be stopped and whose memory ends with it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from training_pipeline.problem import Problem

_GRACE_SECONDS = 10.0
"""How long a child may clean up after SIGTERM before it is killed."""


@dataclass(frozen=True)
class Ended:
    """How a child ended."""

    exit_code: int
    """Negative: the number of the signal that ended it."""
    problem: Problem | None
    """Why, if it said so."""


class TrainingChild:
    """Runs ``python -m training_pipeline train`` and hears its progress."""

    def __init__(self, task_file: Path, environment: Mapping[str, str]) -> None:
        self._task_file = task_file
        self._environment = dict(environment)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def run(
        self,
        reason: str,
        *,
        result_file: Path,
        log_file: Path,
        report: Callable[[str, float], None],
    ) -> Ended:
        """Train, and return when the child has ended.

        Args:
            reason: why the run was asked for.
            result_file: where the child writes its result.
            log_file: gets the child's stderr.
            report: hears of stage and progress.
        """
        problem: Problem | None = None
        with log_file.open("ab") as log:
            process = self._start(reason, result_file, log.fileno())
            if process is None or process.stdout is None:
                return Ended(exit_code=-1, problem=None)
            with process:
                for line in process.stdout:
                    match _parse(line):
                        case {"stage": str(stage), "progress": float(progress)}:
                            report(stage, progress)
                        case {"error": {} as parts}:
                            problem = Problem.model_validate(parts)
                        case _:
                            log.write(line.encode())
        return Ended(exit_code=process.returncode, problem=problem)

    def stop(self) -> None:
        """End the child, if one runs, and let none start after."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()

    def _start(self, reason: str, result_file: Path, log: int) -> subprocess.Popen[str] | None:
        command = [sys.executable, "-m", "training_pipeline", "train", "--progress", "json"]
        command += ["--task", str(self._task_file), f"--reason={reason}"]
        # What an interrupted run of the same rows and settings learned is gone on with.
        command += ["--result", str(result_file), "--supersede"]
        with self._lock:
            if self._stopped:
                return None
            self._process = subprocess.Popen(  # noqa: S603 - own program; a reason is no option
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment,
                # Ctrl-C reaches the service alone, which then ends its child in order.
                start_new_session=True,
            )
            return self._process


def _parse(line: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None
