"""Speed and size: how long one text takes, how many tokens a second go through, how large it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training_pipeline.onnx_model import OnnxModel
from training_pipeline.rows import Rows

MEASURED_ROWS = 200
_WARM_UP_ROWS = 5
_BYTES_PER_MB = 1e6


@dataclass(frozen=True)
class Speed:
    """Of one exported file, on the machine that trained."""

    p50_ms: float
    """Of one text at a time: tokenised, padded, run."""
    p95_ms: float
    tokens_per_second: float
    """Of texts in batches."""
    size_mb: float
    """Of the file; a MB is a million bytes."""


def speed(
    exported: OnnxModel, holdout: Rows, clock: Callable[[], float] = time.perf_counter
) -> Speed:
    """Measure one exported file on the newest held-out texts.

    Args:
        exported: the file; a pass may take every core.
        holdout: real texts of real lengths; at least one.
        clock: seconds, from any beginning.
    """
    newest = holdout.take(slice(-MEASURED_ROWS, None))
    texts = newest.texts.tolist()
    for row in range(min(_WARM_UP_ROWS, len(texts))):
        exported.logits([texts[row]], newest.features[[row]])
    took = np.empty(len(texts))
    for row, text in enumerate(texts):
        started = clock()
        exported.logits([text], newest.features[[row]])
        took[row] = clock() - started
    started = clock()
    exported.logits(texts, newest.features)
    together = clock() - started
    tokens = int(exported.lengths(texts).sum())
    p50, p95 = np.quantile(took, [0.5, 0.95]) * 1_000
    return Speed(
        p50_ms=float(p50),
        p95_ms=float(p95),
        tokens_per_second=tokens / together if together > 0 else float("inf"),
        size_mb=exported.path.stat().st_size / _BYTES_PER_MB,
    )
