"""The fit of a model: from rows to weights, whatever interrupts it on the way."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from shared.errors import StateError
from shared.task import Task
from training_pipeline.encoder import TextTokenizer, load_tokenizer
from training_pipeline.fit.calibration import Calibration, apply_temperature, calibrate
from training_pipeline.fit.checkpoint import state_in
from training_pipeline.fit.early_stopping import EarlyStopping
from training_pipeline.fit.examples import Examples, Order, hold_back, tokenise
from training_pipeline.fit.execution import Execution
from training_pipeline.fit.fingerprint import (
    INITIAL_WEIGHTS,
    Fingerprint,
    differences,
    fingerprint_of,
)
from training_pipeline.fit.loop import Loop
from training_pipeline.fit.loss import LossParts, class_weights
from training_pipeline.fit.optimizer import make_optimizer
from training_pipeline.fit.processes import Processes
from training_pipeline.fit.start import build_model, make_deterministic
from training_pipeline.fit.state import FitState
from training_pipeline.fit.validation import Validated, Validation
from training_pipeline.model import MentionClassifier
from training_pipeline.progress import Silent, TrainingProgress
from training_pipeline.rows import Rows


@dataclass(frozen=True)
class Fitted:
    """A trained model, on the CPU, in evaluation mode, and how it came about."""

    model: MentionClassifier
    losses: list[float] = field(repr=False)
    """Mean cross entropy of each step's batch."""
    validation_losses: dict[int, float]
    """By step; empty without patience."""
    calibration: Calibration | None
    """None if there were too few rows to validate on."""
    initial_weight_sha256: str
    """Of the weights before the first step."""
    validated: Validated = field(repr=False)
    """How the rows held back for validation are answered by the model, calibrated as it is."""

    @property
    def metrics(self) -> dict[str, float]:
        """What was measured on the rows held back for validation, by name."""
        if self.calibration is None:
            return {}
        return {
            "temperature": self.calibration.temperature,
            "validation_calibration_error_before": self.calibration.error_before,
            "validation_calibration_error": self.calibration.error_after,
        }


def fit(
    train: Rows,
    task: Task,
    *,
    base: Path,
    tokenizer: TextTokenizer,
    progress: TrainingProgress,
    execution: Execution | None = None,
) -> Fitted:
    """Fine-tune the base on labelled rows. The same rows, task and machine give the same bits.

    Args:
        train: rows to learn from and, the newest of them, to validate on.
        task: gives the labels and the training section.
        base: the resolved folder of the base encoder.
        tokenizer: the base's tokenizer.
        progress: hears of every step, with its loss.
        execution: in which processes, and where it is saved; by default this one, and nowhere.

    Raises:
        StateError: no row of some label is left to learn from, a checkpoint is of another fit or
            cannot be saved, or another process is gone.
        TaskError: the base does not allow a setting.
        KeyboardInterrupt: asked to stop; what was learned is saved.
    """
    examples = tokenise(train, tokenizer, task.training.max_length)
    return _fit(
        examples,
        task,
        base=base,
        pad_token_id=tokenizer.pad_token_id,
        progress=progress,
        execution=execution or Execution(),
    )


def assist(task: Task, *, base: Path, execution: Execution) -> None:
    """Take part, as a process that is not the main one, in the fit that the main one begins.

    Rows come from there. Raises what ``fit`` raises.
    """
    pad_token_id = load_tokenizer(base, task.training.max_length).pad_token_id
    _fit(None, task, base=base, pad_token_id=pad_token_id, progress=Silent(), execution=execution)


def _fit(
    given: Examples | None,
    task: Task,
    *,
    base: Path,
    pad_token_id: int,
    progress: TrainingProgress,
    execution: Execution,
) -> Fitted:
    processes, training = execution.processes, task.training
    with processes.watched():
        examples = _shared(given, execution)
        make_deterministic(training.seed, processes_here=processes.here)
        learn, held = hold_back(examples, training, task.labels)
        model = build_model(learn.features, task, base=base)
        fingerprint = fingerprint_of(task, examples, model, processes)
        _check_agreement(fingerprint, processes)
        model.to(processes.device)
        state = FitState(model, make_optimizer(model, training), EarlyStopping(training.patience))
        _resume(state, execution, fingerprint)

        weights = class_weights(learn.labels, len(task.labels), training.class_weights)
        validation = Validation(held, weights, processes, pad_token_id=pad_token_id)
        loop = Loop(
            training=training,
            order=Order(learn.lengths, training),
            parts=LossParts(
                learn,
                training,
                weights,
                rank=processes.rank,
                world=processes.world,
                pad_token_id=pad_token_id,
            ),
            validation=validation,
            execution=execution,
            progress=progress,
            save=lambda state: _save(state, execution, fingerprint),
        )
        with execution.stop.deferred():
            loop.run(state)
        state.stopping.restore_best(model)
        validated = validation.validated(model)
        calibration = calibrate(validated.logits, validated.labels)
    if calibration is not None:
        apply_temperature(model, calibration.temperature)
        validated = replace(validated, logits=validated.logits / calibration.temperature)
    return Fitted(
        model.cpu().eval(),
        state.losses,
        state.stopping.losses,
        calibration,
        initial_weight_sha256=fingerprint[INITIAL_WEIGHTS],
        validated=validated,
    )


def _shared(given: Examples | None, execution: Execution) -> Examples:
    """Return the main process's examples, in every process."""
    send = execution.processes.send
    return Examples(
        token_ids=send(given.token_ids if given is not None else None, np.int64),
        lengths=send(given.lengths if given is not None else None, np.int64),
        labels=send(given.labels if given is not None else None, np.int64),
        features=send(given.features if given is not None else None, np.float32, dimensions=2),
    )


def _check_agreement(fingerprint: Fingerprint, processes: Processes) -> None:
    """Raise StateError unless this process fits what the main one fits."""
    mine = json.dumps(fingerprint).encode()
    sent = np.frombuffer(mine, dtype=np.uint8).copy() if processes.main else None
    theirs = json.loads(processes.send(sent, np.uint8).tobytes())
    if differing := differences(fingerprint, theirs):
        raise StateError(
            f"training process {processes.rank} of {processes.world}",
            expected="the same task file, base encoder and versions as the main process has",
            found=differing,
        )


def _resume(state: FitState, execution: Execution, fingerprint: Fingerprint) -> None:
    """Take up the newest checkpoint, if there is one; the main process reads it for all."""
    checkpoints, content = execution.checkpoints, b""
    if checkpoints is not None:
        content = checkpoints.newest(fingerprint)
    sent = np.frombuffer(content, dtype=np.uint8).copy() if execution.processes.main else None
    content = execution.processes.send(sent, np.uint8).tobytes()
    if content:
        state.load_state_dict(state_in(content))


def _save(state: FitState, execution: Execution, fingerprint: Fingerprint) -> None:
    if execution.checkpoints is not None:
        execution.checkpoints.save(state.state_dict(), fingerprint)
