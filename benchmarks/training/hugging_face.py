"""Hugging Face's ``Trainer`` as a contender: the same model, optimiser, rates, rows and batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from benchmarks.training.contender import Job, Speed, Stopwatch
from training_pipeline.fit.examples import Examples
from training_pipeline.fit.optimizer import make_optimizer, warmup_then_decay
from training_pipeline.fit.start import build_model
from training_pipeline.model import MentionClassifier


class _WithLoss(nn.Module):
    """The classifier as Trainer wants one: it takes labels and answers with its loss."""

    def __init__(self, classifier: MentionClassifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.shapes: list[tuple[int, int, Tensor]] = []
        """Of each forward pass, rows, padded length and tokens; read when all is done."""

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, features: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """Return loss and logits."""
        self.shapes.append((len(input_ids), input_ids.shape[1], attention_mask.sum()))
        logits = self.classifier(input_ids, attention_mask, features)
        return {"loss": nn.functional.cross_entropy(logits.float(), labels), "logits": logits}


class _Rows(Dataset[dict[str, Any]]):
    """Examples one by one; the collator pads them."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples
        ends = np.cumsum(examples.lengths)
        self._tokens = [
            examples.token_ids[end - length : end]
            for end, length in zip(ends, examples.lengths, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {
            "input_ids": self._tokens[row],
            "features": self._examples.features[row],
            "labels": self._examples.labels[row],
        }


class _Timed(TrainerCallback):
    def __init__(self) -> None:
        self.watch = Stopwatch()
        self.losses: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        self.watch.step_ended()

    def on_log(self, *_: object, logs: dict[str, float] | None = None, **__: object) -> None:
        if logs and "loss" in logs:
            self.losses.append(logs["loss"])


def fit_with_trainer(job: Job, folder: Path, *, grouped: bool) -> Speed:
    """Fit the job and return how fast its steps were.

    Args:
        job: what to fit.
        folder: for what Trainer writes.
        grouped: rows of like length share a batch; otherwise rows come as they are shuffled.
    """
    training = job.task.training
    torch.manual_seed(training.seed)
    model = _WithLoss(build_model(job.examples.features, job.task, base=job.base))
    optimizer = make_optimizer(model.classifier, training)
    steps = -(-len(job.rows) // training.batch_size) * training.epochs
    timed = _Timed()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=training.batch_size,
            num_train_epochs=training.epochs,
            max_grad_norm=training.max_gradient_norm,
            train_sampling_strategy="group_by_length" if grouped else "random",
            bf16=training.precision == "bf16",
            logging_steps=max(1, steps // 10),
            save_strategy="no",
            report_to="none",
            remove_unused_columns=False,
            seed=training.seed,
        ),
        train_dataset=_Rows(job.examples),
        data_collator=lambda rows: _collate(rows, job.tokenizer.pad_token_id),
        optimizers=(
            optimizer,
            LambdaLR(optimizer, lambda step: warmup_then_decay(step, steps, training.warmup_share)),
        ),
        callbacks=[timed],
    )
    trainer.train()
    shapes = [(rows, length, int(tokens)) for rows, length, tokens in model.shapes]
    return timed.watch.speed(shapes, timed.losses)


def _collate(rows: list[dict[str, Any]], pad_token_id: int) -> dict[str, Tensor]:
    """Return a batch, padded to its longest row."""
    longest = max(len(row["input_ids"]) for row in rows)
    input_ids = np.full((len(rows), longest), pad_token_id, dtype=np.int64)
    attention_mask = np.zeros((len(rows), longest), dtype=np.int64)
    for place, row in enumerate(rows):
        input_ids[place, : len(row["input_ids"])] = row["input_ids"]
        attention_mask[place, : len(row["input_ids"])] = 1
    return {
        "input_ids": torch.from_numpy(input_ids),
        "attention_mask": torch.from_numpy(attention_mask),
        "features": torch.from_numpy(np.stack([row["features"] for row in rows])),
        "labels": torch.from_numpy(np.array([row["labels"] for row in rows])),
    }
