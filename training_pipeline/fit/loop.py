"""The training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from shared.task import Training
from training_pipeline.fit.dropout import RowDropout
from training_pipeline.fit.examples import Batch, Order
from training_pipeline.fit.execution import Execution
from training_pipeline.fit.loss import LossParts, loss_of
from training_pipeline.fit.optimizer import set_learning_rates
from training_pipeline.fit.state import FitState
from training_pipeline.fit.validation import Validation
from training_pipeline.progress import TrainingProgress


@dataclass(frozen=True)
class Loop:
    """Takes steps until the epochs, or the patience, are at their end."""

    training: Training
    order: Order
    parts: LossParts
    validation: Validation
    execution: Execution
    progress: TrainingProgress
    save: Callable[[FitState], None]
    """Saves a checkpoint; does nothing in all but the main process."""

    def run(self, state: FitState) -> None:
        """Go on from a state to the end.

        Raises:
            KeyboardInterrupt: a process was asked to stop; the state is saved.
            StateError: another process is gone, or a checkpoint cannot be saved.
        """
        processes, stop, steps = self.execution.processes, self.execution.stop, self.order.steps
        model = state.model.train()
        while state.step < steps and not state.stopping.exhausted:
            set_learning_rates(
                state.optimizer,
                step=state.step,
                steps=steps,
                warmup_share=self.training.warmup_share,
            )
            state.optimizer.zero_grad(set_to_none=True)
            loss = 0.0
            for part in self.parts.of(self.order.batch(state.step)):
                loss += self.backward(model, part, state.step)
            processes.sum_gradients(model)
            nn.utils.clip_grad_norm_(model.parameters(), self.training.max_gradient_norm)
            state.optimizer.step()
            state.step += 1
            # One exchange a step: the loss, and whether any process was asked to stop.
            loss, stopping = processes.sum(np.array([loss, float(stop.asked)])).tolist()
            state.losses.append(loss)
            self.progress.step(state.step, steps, loss=loss)
            if self.evaluation_due(state.step):
                state.stopping.observe(state.step, self.validation.loss(model), model)
            self.tell_of_epoch(state)
            self.checkpoint(state, stopping=stopping > 0)

    def backward(self, model: nn.Module, batch: Batch, step: int) -> float:
        """Add a part's gradients; return its share of the global batch's loss."""
        processes, training = self.execution.processes, self.training
        batch = Batch(*(tensor.to(processes.device) for tensor in batch))
        with (
            RowDropout(batch.places, seed=training.seed, step=step),
            torch.autocast(
                processes.device.type, torch.bfloat16, enabled=training.precision == "bf16"
            ),
        ):
            logits = model(batch.input_ids, batch.attention_mask, batch.features)
        loss = loss_of(logits, batch)  # []
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
        return loss.item()

    def evaluation_due(self, step: int) -> bool:
        """Return whether patience is asked after this step."""
        every = self.training.evaluate_steps or self.order.steps_an_epoch
        return self.training.patience is not None and step % every == 0

    def tell_of_epoch(self, state: FitState) -> None:
        """Let whoever wants to know hear how good the model is after each epoch."""
        epoch, rest = divmod(state.step, self.order.steps_an_epoch)
        if self.execution.epoch_ended is not None and rest == 0:
            self.execution.epoch_ended(epoch, self.validation.validated(state.model))

    def checkpoint(self, state: FitState, *, stopping: bool) -> None:
        """Save when it is time, at the end and when asked to stop; then all leave together."""
        ended = state.step == self.order.steps or state.stopping.exhausted
        checkpoints = self.execution.checkpoints
        if stopping or ended or (checkpoints is not None and checkpoints.due(state.step)):
            self.save(state)
        if stopping:
            self.execution.processes.wait()  # nobody is killed for leaving before the save
            raise KeyboardInterrupt(f"interrupted after step {state.step} of {self.order.steps}")
