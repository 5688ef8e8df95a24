"""The fit: fine-tuning of the classifier. The loop below is all of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from shared.task import Task
from training_pipeline.batches import pad, shuffled_batches
from training_pipeline.encoder import TextTokenizer, load_encoder
from training_pipeline.model import MentionClassifier, feature_statistics
from training_pipeline.progress import TrainingProgress
from training_pipeline.rows import Rows

WARMUP_SHARE = 0.1
WEIGHT_DECAY = 0.01
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Fitted:
    """A trained model and how its loss went."""

    model: MentionClassifier
    losses: list[float] = field(repr=False)
    """Mean cross entropy of each step's batch."""


def fit(
    train: Rows,
    task: Task,
    *,
    base: Path,
    tokenizer: TextTokenizer,
    progress: TrainingProgress,
) -> Fitted:
    """Fine-tune the base on labelled rows. The same rows, task and machine give the same bits.

    Args:
        train: rows to learn from.
        task: gives the labels and the training section.
        base: the resolved folder of the base encoder.
        tokenizer: the base's tokenizer.
        progress: hears of every step, with its loss.
    """
    training = task.training
    make_deterministic(training.seed)
    random = np.random.default_rng(training.seed)
    model = build_model(train, task, base=base)
    tokens = tokenizer.encode(train.texts.tolist(), training.max_length)
    lengths = np.array([len(ids) for ids in tokens])
    batches = [
        batch
        for _ in range(training.epochs)
        for batch in shuffled_batches(lengths, training.batch_size, random)
    ]
    optimizer = torch.optim.AdamW(
        [
            {"params": model.encoder.parameters(), "lr": training.encoder_learning_rate},
            {"params": model.head.parameters(), "lr": training.head_learning_rate},
        ],
        weight_decay=WEIGHT_DECAY,
        fused=True,  # one pass over the weights: several times faster on CPU
    )
    schedule = LambdaLR(optimizer, lambda step: warmup_then_decay(step, len(batches)))

    losses: list[float] = []
    model.train()
    for step, batch in enumerate(batches, start=1):
        input_ids, attention_mask = pad([tokens[i] for i in batch], tokenizer.pad_token_id)
        logits = model(
            torch.from_numpy(input_ids),
            torch.from_numpy(attention_mask),
            torch.from_numpy(train.features[batch]),
        )
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(train.labels[batch]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        progress.step(step, len(batches), loss=losses[-1])
    return Fitted(model=model.eval(), losses=losses)


def make_deterministic(seed: int) -> None:
    """Seed torch, take every core this process may use, and refuse operations that vary."""
    torch.manual_seed(seed)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.use_deterministic_algorithms(mode=True)


def build_model(train: Rows, task: Task, *, base: Path) -> MentionClassifier:
    """Return the untrained classifier: the base's weights, a new head, the features' statistics."""
    mean, std = feature_statistics(train.features)
    return MentionClassifier(
        load_encoder(base),
        feature_mean=mean,
        feature_std=std,
        labels=len(task.labels),
        feature_dropout=task.training.feature_dropout,
    )


def warmup_then_decay(step: int, steps: int) -> float:
    """Return the factor of the learning rate: up in a line over the warm-up, then down to zero."""
    warmup = max(1, int(steps * WARMUP_SHARE))
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (steps - step) / max(1, steps - warmup))
