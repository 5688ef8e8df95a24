"""The optimizer: AdamW, its groups of weights, and the learning rate of each step."""

from __future__ import annotations

import re
from collections import defaultdict

import torch
from torch import nn

from shared.errors import TaskError
from shared.task import Training
from training_pipeline.model import MentionClassifier

_NUMBERED = re.compile(r"\blayers?\.(\d+)\.")
_MATRIX = 2
"""Dimensions from which on weights decay: biases and the scales of norms do not."""


def make_optimizer(model: MentionClassifier, training: Training) -> torch.optim.AdamW:
    """Return AdamW with a peak learning rate for each group of weights.

    The head learns at its own rate. The encoder's last layer learns at the encoder's rate, and
    each layer below at ``layer_decay`` times the one above; embeddings count as the lowest.

    Raises:
        TaskError: layers should learn at different rates, but the encoder numbers none.
    """
    numbered = [
        int(found[1])
        for name, _ in model.encoder.named_parameters()
        if (found := _NUMBERED.search(name))
    ]
    if training.layer_decay < 1 and not numbered:
        raise TaskError(
            "task file, training.layer_decay",
            expected="1, since the base encoder numbers no layers",
            found=str(training.layer_decay),
        )
    layers = max(numbered, default=-1) + 1
    groups: defaultdict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, weights in model.encoder.named_parameters():
        found = _NUMBERED.search(name)
        # A pooler or a last norm stands above all layers and learns as the last one does.
        depth = int(found[1]) if found else (-1 if "embed" in name else layers - 1)
        rate = training.encoder_learning_rate * training.layer_decay ** (layers - 1 - depth)
        groups[rate, _decay(weights, training)].append(weights)
    for weights in model.head.parameters():
        groups[training.head_learning_rate, _decay(weights, training)].append(weights)
    return torch.optim.AdamW(
        [
            {"params": weights, "lr": rate, "peak": rate, "weight_decay": decay}
            for (rate, decay), weights in groups.items()
        ],
        fused=True,  # one pass over the weights: several times faster on CPU
    )


def set_learning_rates(
    optimizer: torch.optim.Optimizer, *, step: int, steps: int, warmup_share: float
) -> None:
    """Give each group the learning rate of a step: a function of the step, and so no state."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * warmup_then_decay(step, steps, warmup_share)


def warmup_then_decay(step: int, steps: int, warmup_share: float = 0.1) -> float:
    """Return the factor of the learning rate: up in a line over the warm-up, then down to zero."""
    warmup = max(1, int(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (steps - step) / max(1, steps - warmup))


def _decay(weights: nn.Parameter, training: Training) -> float:
    return training.weight_decay if weights.ndim >= _MATRIX else 0.0
