"""A training run as a child process, which can be stopped and whose memory ends with it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from shared.logs import get_logger
from training_pipeline.problem import Problem
from training_pipeline.supervision import GO_AHEAD, STILL_WANTED

_log = get_logger(__name__)

WARM = "--warm"
"""Tells a child to import at once what takes seconds to import."""


@dataclass(frozen=True)
class Ended:
    """How a child ended."""

    exit_code: int
    """Negative: the number of the signal that ended it."""
    problem: Problem | None = None
    """Why, if it said so."""
    passing: bool = False
    """Whether it said that this may pass."""


@dataclass(frozen=True)
class Heard:
    """What a child tells of its progress."""

    stage: str
    progress: float
    figures: Mapping[str, float]


class Child(Protocol):
    """Executes one run at a time, and can be stopped from another thread."""

    def run(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        report: Callable[[Heard], None],
        may_register: Callable[[], bool],
    ) -> Ended:
        """Train, and return when it has ended."""

    def prepare(self) -> None:
        """Get ready for the next run."""

    def go_on(self) -> None:
        """Tell what runs that it is still wanted; without it, it ends by itself."""

    def stop(self) -> None:
        """End the run in order, or else at once; nothing, if none has begun."""

    def kill(self) -> None:
        """End the run at once."""


class TrainingChild:
    """Runs ``python -m training_pipeline train``, in a process that was started before if it can.

    Several processes that take the steps together are started by torchrun.
    """

    def __init__(
        self, environment: Mapping[str, str], *, warm: bool, processes: int, grace: float
    ) -> None:
        """Take how to start children; none is started yet.

        Args:
            environment: of the children.
            warm: keep a spare one, which has imported everything.
            processes: that train one run together.
            grace: seconds that a child has to save what it learned before it is killed.
        """
        self._environment = dict(environment)
        self._processes = processes
        self._warm = warm and processes == 1
        self._grace = grace
        self._lock = threading.Lock()
        self._spare: subprocess.Popen[str] | None = None
        self._running: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """Start a spare child, unless there is one."""
        with self._lock:
            if self._warm and (self._spare is None or self._spare.poll() is not None):
                self._spare = self._start_waiting()

    def run(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        report: Callable[[Heard], None],
        may_register: Callable[[], bool],
    ) -> Ended:
        """Train, and return when the child has ended.

        Args:
            arguments: of ``train``.
            log: gets what the child writes beside its progress.
            report: hears of it.
            may_register: is asked before the result goes to the registry; if not, the child ends.
        """
        try:
            return self._heard_to_the_end(arguments, log, report, may_register)
        finally:
            with self._lock:
                self._running = None

    def go_on(self) -> None:
        """Tell the child that runs that it is still wanted; without it, it ends by itself."""
        with self._lock:
            if self._running is not None:
                _write(self._running, STILL_WANTED)

    def stop(self) -> None:
        """End the child that runs: by SIGTERM, upon which it saves, and by SIGKILL in the end."""
        with self._lock:
            process = self._running
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(self._grace)
        except subprocess.TimeoutExpired:
            _log.warning("training process does not end, and is killed", grace=self._grace)
            with self._lock:
                _kill(process)

    def kill(self) -> None:
        """End the child that runs at once."""
        with self._lock:
            if self._running is not None:
                _kill(self._running)

    def close(self) -> None:
        """End the spare child."""
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            with spare:  # closes its standard input, which is its end
                spare.kill()

    def _heard_to_the_end(
        self,
        arguments: Sequence[str],
        log: Path,
        report: Callable[[Heard], None],
        may_register: Callable[[], bool],
    ) -> Ended:
        problem: Problem | None = None
        passing = False
        with log.open("ab") as file, self._start(arguments, log, file.fileno()) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            for line in process.stdout:
                match _parse(line):
                    case {"stage": str(stage), "progress": float(progress), **rest}:
                        report(Heard(stage, progress, _figures(rest)))
                        if stage == "register" and "step" not in rest:
                            self._answer(process, may_register=may_register())
                    case {"error": {} as parts, "passing": bool(passing)}:
                        problem = Problem.model_validate(parts)
                    case _:
                        file.write(line.encode())
        return Ended(exit_code=process.returncode, problem=problem, passing=passing)

    def _start(self, arguments: Sequence[str], log: Path, file: int) -> subprocess.Popen[str]:
        with self._lock:
            if self._processes > 1:
                process = self._popen(self._torchrun(arguments), stderr=file)
            else:
                spare, self._spare = self._spare, None
                alive = spare is not None and spare.poll() is None
                process = spare if spare is not None and alive else self._start_waiting()
                order = {"arguments": list(arguments), "log": str(log)}
                _write(process, json.dumps(order) + "\n")
            self._running = process
            return process

    def _start_waiting(self) -> subprocess.Popen[str]:
        module = ["-m", "training_pipeline.service.spare"]
        return self._popen([sys.executable, *module, *([WARM] if self._warm else [])])

    def _torchrun(self, arguments: Sequence[str]) -> list[str]:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        torchrun += ["--nproc-per-node", str(self._processes)]
        return [*torchrun, "-m", "training_pipeline", *arguments]

    def _popen(self, command: list[str], stderr: int | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 - own program; a reason is no option
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",  # a library may print what it likes
            env=self._environment,
            # Ctrl-C reaches the worker alone, which then ends its child in order.
            start_new_session=True,
        )

    def _answer(self, process: subprocess.Popen[str], *, may_register: bool) -> None:
        if may_register:
            with self._lock:
                _write(process, GO_AHEAD)
        else:
            process.terminate()


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process at once, and those that it started: torchrun's are in sessions of their own.

    They share its standard input, whose end is theirs.
    """
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    process.kill()
    with suppress(BrokenPipeError):  # it is closed all the same
        process.stdin.close()


def _write(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    try:
        process.stdin.write(line)
        process.stdin.flush()
    except (BrokenPipeError, ValueError):  # closed at its end, or here just now
        _log.debug("training process has ended", pid=process.pid)  # its exit code tells


def _parse(line: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _figures(found: Mapping[Any, Any]) -> dict[str, float]:
    """Return what is a number; a loss that is none any more is not worth a place in a database."""
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
