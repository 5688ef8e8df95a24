"""The mention classifier: encoder, mean pooling, activity features with a mask for missing ones."""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEAD_DROPOUT = 0.1


class MentionClassifier(nn.Module):
    """Logits per label from a text and the activity of its subject and source.

    Features are standardised inside the graph, so that serving hands over raw values.
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(
        self,
        encoder: PreTrainedModel,
        *,
        feature_mean: Tensor,
        feature_std: Tensor,
        labels: int,
        feature_dropout: float,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.feature_dropout = feature_dropout
        self.register_buffer("feature_mean", feature_mean)
        self.register_buffer("feature_std", feature_std)
        self.dropout = nn.Dropout(HEAD_DROPOUT)
        self.head = nn.Linear(encoder.config.hidden_size + 2 * len(feature_mean), labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, features: Tensor) -> Tensor:
        """Return logits [batch, labels].

        Args:
            input_ids: int64 [batch, length].
            attention_mask: int64 [batch, length], 1 where there is a token.
            features: float32 [batch, features], NaN where a value is missing.
        """
        pooled = self.pool(input_ids, attention_mask)  # [batch, hidden]
        if self.training:
            features = self.forget(features)
        joined = torch.cat([pooled, *self.standardise(features)], dim=1)
        logits: Tensor = self.head(self.dropout(joined))
        return logits

    def pool(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the mean of the token states of each text, [batch, hidden]."""
        states = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask
        ).last_hidden_state  # [batch, length, hidden]
        weights = attention_mask.unsqueeze(-1).to(states.dtype)
        total: Tensor = (states * weights).sum(dim=1)
        return total / weights.sum(dim=1).clamp(min=1.0)

    def forget(self, features: Tensor) -> Tensor:
        """Make all features of a random share of the rows missing.

        An answer without features is then one that the model has learned to give.
        """
        # Through dropout, whose masks by row a fit provides, like those of all other layers.
        kept = nn.functional.dropout(features.new_ones(len(features), 1), self.feature_dropout)
        return torch.where(kept == 0, torch.nan, features)

    def standardise(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return (values, missing), both [batch, features]; a missing value is 0, its mask 1."""
        missing = torch.isnan(features)
        # Zeros go in before any arithmetic: a NaN masked afterwards still poisons gradients.
        present = torch.where(missing, torch.zeros_like(features), features)
        scaled = (compress(present) - self.feature_mean) / self.feature_std
        return torch.where(missing, torch.zeros_like(scaled), scaled), missing.to(features.dtype)


def compress(values: Tensor) -> Tensor:
    """Return log1p that keeps the sign: counts are skewed, and a feature may be negative."""
    return torch.sign(values) * torch.log1p(torch.abs(values))


def feature_statistics(features: npt.NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each compressed feature, each float32 [features].

    Args:
        features: raw training values, [rows, features]; NaN where missing. A feature that is
            never there, or never varies, gets a standard deviation of 1.
    """
    compressed = compress(torch.from_numpy(features)).numpy().astype(np.float64)
    with warnings.catch_warnings():
        # numpy warns of columns that hold nothing but NaN; they are dealt with below.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(compressed, axis=0)
        std = np.nanstd(compressed, axis=0)
    mean = np.nan_to_num(mean)
    std = np.where(np.nan_to_num(std) > 0, std, 1.0)
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)


def weight_hash(model: nn.Module) -> str:
    """Return the SHA-256 of all weights and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
