"""The share of a GPU's peak that a fit reaches: the arithmetic that it needs, over what there is.

A fit needs 6 operations for each parameter that is multiplied with each token (2 forward, 4
backward), and in each layer 12 for each pair of tokens that attention holds against each other,
times the width (2 for the scores, 2 for the mean of values; backward twice that). Embeddings
are looked up, not multiplied. After Kaplan et al. 2020 and Chowdhery et al. 2022 (PaLM, app. B).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from benchmarks.training.contender import Speed

PEAK_BF16 = {
    "A100": 312e12,
    "H100": 989e12,
    "H200": 989e12,
    "L4": 121e12,
    "T4": 65e12,
}
"""Operations a second of dense 16-bit products, by NVIDIA's data sheets (of H100 and H200, the
SXM ones; T4 has fp16 alone)."""


@dataclass(frozen=True)
class Arithmetic:
    """What decides the operations of a fit."""

    matrix_parameters: int
    """Those of the encoder without embeddings."""
    layers: int
    hidden: int
    device: str

    def operations(self, speed: Speed) -> int:
        """Return the operations that the measured tokens need, padding not counted as work.

        Attention is counted as padded, since pairs of texts' own lengths are not kept; with
        batches of like length the two are close.
        """
        products = 6 * self.matrix_parameters * speed.tokens
        return products + 12 * self.layers * self.hidden * speed.attended_pairs

    def share_of_peak(self, speed: Speed) -> float | None:
        """Return the share of the device's peak, None where its peak is not in the table."""
        peak = next((PEAK_BF16[name] for name in PEAK_BF16 if name in self.device), None)
        return None if peak is None else self.operations(speed) / speed.seconds / peak


def has_gpu() -> bool:
    """Return whether this machine has an NVIDIA GPU that torch can use."""
    if shutil.which("nvidia-smi") is None:
        return False
    import torch

    return torch.cuda.is_available()
