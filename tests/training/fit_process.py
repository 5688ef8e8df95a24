"""Fits in processes of their own, which can be killed at a step or while they save, for tests."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from shared.errors import FtiError
from tests.training.sample import MAX_LENGTH, sample_rows, sample_task
from training_pipeline.encoder import load_tokenizer
from training_pipeline.fit import Checkpoints, Execution, Processes, assist, fit, loop, processes_of
from training_pipeline.model import weight_hash
from training_pipeline.progress import Silent
from training_pipeline.stop import StopRequest

END_SECONDS = 60.0
ROWS = 200


@dataclass(frozen=True)
class Kill:
    """A signal that a process sends itself."""

    how: signal.Signals
    step: int
    """At the beginning of this step, counted from 0; where ``saving``, of this save from 0 on."""
    rank: int = 0
    saving: bool = False
    """Kill in the middle of a save instead: written, but not renamed yet."""


@dataclass(frozen=True)
class Plan:
    """What a process is to fit."""

    base: Path
    folder: Path
    """For checkpoints and for what came out."""
    training: dict[str, Any] = field(default_factory=dict)
    kill: Kill | None = None
    rank: int = 0
    world: int = 1
    port: int = 0

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"


@dataclass(frozen=True)
class Outcome:
    """How the processes of a fit ended."""

    exit_codes: list[int]
    """Negative: the number of the signal that ended it."""
    said: list[str]
    """Why, by process."""
    weights: str
    """Hash of the weights that the main process ended with; nothing if it did not end."""
    losses: list[float]


def run_fit(plan: Plan) -> Outcome:
    """Run a plan to its end, in as many processes as it says."""
    context = multiprocessing.get_context("forkserver")
    # What takes seconds to import is imported once.
    context.set_forkserver_preload(
        ["tests.training.fit_process", "transformers.models.bert.modeling_bert"]
    )
    plan.folder.mkdir(exist_ok=True)
    for file in plan.folder.glob("out-*"):
        file.unlink()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        plan = replace(plan, port=probe.getsockname()[1])
    processes = [
        context.Process(target=fit_as_planned, args=(replace(plan, rank=rank),))
        for rank in range(plan.world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(END_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
    said = [_read(plan.folder / f"out-{rank}.txt") for rank in range(plan.world)]
    result = json.loads(_read(plan.folder / "out-result.json") or '{"weights": "", "losses": []}')
    return Outcome([process.exitcode or 0 for process in processes], said, **result)


def fit_as_planned(plan: Plan) -> None:
    """Fit, be killed as planned, and write down how it ended."""
    # A core each: threads of one process that wait for each other take long on a busy machine.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[plan.rank % len(cores)]})
    stop = StopRequest()
    stop.listen()
    if plan.kill is not None and plan.kill.rank == plan.rank:
        _arm(plan.kill)
    try:
        with processes_of(_environment(plan)) as processes:
            _fit(plan, processes, stop)
    except KeyboardInterrupt as interruption:
        _leave(plan, 130, str(interruption))
    except FtiError as error:
        _leave(plan, 1, str(error))


def _fit(plan: Plan, processes: Processes, stop: StopRequest) -> None:
    task = sample_task(plan.base, **plan.training)
    if not processes.main:
        assist(task, base=plan.base, execution=Execution(processes, stop=stop))
        return
    checkpoints = Checkpoints(plan.checkpoints, every_seconds=3_600, every_steps=3)
    fitted = fit(
        sample_rows(ROWS),
        task,
        base=plan.base,
        tokenizer=load_tokenizer(plan.base, MAX_LENGTH),
        progress=Silent(),
        execution=Execution(processes, checkpoints, stop),
    )
    torch.save(fitted.model.state_dict(), plan.folder / "out-weights.pt")
    result = {"weights": weight_hash(fitted.model), "losses": fitted.losses}
    (plan.folder / "out-result.json").write_text(json.dumps(result))


def _environment(plan: Plan) -> dict[str, str]:
    """Return the variables that torchrun would set; torch reads two of them by itself."""
    if plan.world == 1:
        return {}
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(plan.port)})
    world, rank = str(plan.world), str(plan.rank)
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    os.environ.update(variables)
    return variables


def _arm(kill: Kill) -> None:
    """See to it that this process kills itself."""
    name: Literal["fsync", "set_learning_rates"] = "fsync" if kill.saving else "set_learning_rates"
    where = os if kill.saving else loop
    real, calls = getattr(where, name), iter(range(1_000_000))

    def killing(*args: Any, **named: Any) -> None:
        # A save syncs its file, then the folder.
        if kill.step == named.get("step", next(calls) // 2 if kill.saving else None):
            os.kill(os.getpid(), kill.how)
        real(*args, **named)

    setattr(where, name, killing)


def _leave(plan: Plan, code: int, said: str) -> None:
    (plan.folder / f"out-{plan.rank}.txt").write_text(said)
    sys.exit(code)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
