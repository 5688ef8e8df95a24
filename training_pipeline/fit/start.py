"""The start of a fit: seeds, threads, deterministic kernels, and the untrained model."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from shared.task import Task
from training_pipeline.encoder import load_encoder
from training_pipeline.model import MentionClassifier, feature_statistics


def make_deterministic(seed: int, *, processes_here: int = 1) -> None:
    """Seed torch, share this machine's cores, and refuse operations that vary.

    Args:
        seed: of all that torch draws.
        processes_here: how many processes of the fit run on this machine.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // processes_here))
    # CUDA's matrix products vary from run to run without a workspace of their own.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True)


def build_model(features: npt.NDArray[np.float32], task: Task, *, base: Path) -> MentionClassifier:
    """Return the untrained classifier: the base's weights, a new head, the features' statistics.

    Args:
        features: [rows, features] to learn from; NaN where missing.
        task: gives the labels and the share of features to forget.
        base: the resolved folder of the base encoder.
    """
    mean, std = feature_statistics(features)
    return MentionClassifier(
        load_encoder(base),
        feature_mean=mean,
        feature_std=std,
        labels=len(task.labels),
        feature_dropout=task.training.feature_dropout,
    )
