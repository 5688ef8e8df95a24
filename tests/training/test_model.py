from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from training_pipeline.encoder import load_encoder
from training_pipeline.model import MentionClassifier, feature_statistics, weight_hash

NAN = float("nan")


def classifier(base: Path, feature_dropout: float = 0.0) -> MentionClassifier:
    """Return an untrained classifier of two features, the second of which was never there."""
    torch.manual_seed(0)
    mean, std = feature_statistics(np.array([[0, NAN], [9, NAN], [NAN, NAN]], dtype=np.float32))
    return MentionClassifier(
        load_encoder(base),
        feature_mean=mean,
        feature_std=std,
        labels=2,
        feature_dropout=feature_dropout,
    ).eval()


def test_features_are_standardised_and_masked(tiny_encoder: Path) -> None:
    """Values are standardised as in training; a missing one is 0 with a mask of 1."""
    values, missing = classifier(tiny_encoder).standardise(
        torch.tensor([[0.0, NAN], [9.0, 1.0], [NAN, NAN]])
    )
    assert torch.allclose(values[:2, 0], torch.tensor([-1.0, 1.0]))
    assert missing.tolist() == [[0, 1], [0, 0], [1, 1]]
    assert values[2].tolist() == [0, 0]


def test_statistics_of_absent_and_constant_features() -> None:
    """A feature that is never there, or never varies, leaves its values as they are."""
    mean, std = feature_statistics(np.array([[NAN, 0], [NAN, 0]], dtype=np.float32))
    assert mean.tolist() == [0, 0]
    assert std.tolist() == [1, 1]


def test_missing_values_leave_gradients_whole(tiny_encoder: Path) -> None:
    """Rows with missing features, all of them even, give finite gradients."""
    model = classifier(tiny_encoder, feature_dropout=0.5).train()
    ids = torch.ones(4, 5, dtype=torch.int64)
    features = torch.tensor([[NAN, NAN], [1.0, NAN], [NAN, 3.0], [2.0, 2.0]])
    model(ids, torch.ones_like(ids), features).sum().backward()
    assert all(
        bool(weight.grad.isfinite().all())
        for weight in model.parameters()
        if weight.grad is not None
    )


def test_features_are_forgotten_by_row(tiny_encoder: Path) -> None:
    """Feature dropout takes all features of about the given share of rows, never some of them."""
    forgotten = classifier(tiny_encoder, feature_dropout=0.25).forget(torch.ones(4_000, 2)).isnan()
    assert torch.equal(forgotten[:, 0], forgotten[:, 1])
    assert abs(forgotten[:, 0].float().mean().item() - 0.25) < 0.03


def test_padding_changes_nothing(tiny_encoder: Path) -> None:
    """The mean is over tokens: a text padded further gives the same logits."""
    model = classifier(tiny_encoder)
    ids = torch.tensor([[2, 10, 11, 3, 0, 0]])
    features = torch.tensor([[1.0, NAN]])
    with torch.inference_mode():
        short = model(ids[:, :4], (ids[:, :4] > 0).long(), features)
        padded = model(ids, (ids > 0).long(), features)
    assert torch.allclose(short, padded, atol=1e-6)


def test_the_weight_hash_sees_every_weight(tiny_encoder: Path) -> None:
    """The hash is the same for the same weights and changes with any of them."""
    model, same = classifier(tiny_encoder), classifier(tiny_encoder)
    assert weight_hash(model) == weight_hash(same)
    with torch.no_grad():
        same.head.bias[1] += 1e-6
    assert weight_hash(model) != weight_hash(same)
