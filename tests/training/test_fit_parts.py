"""What steps are made of: learning rates, weights of classes, parts of a batch, patience."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shared.errors import StateError, TaskError
from shared.task import Training
from tests.training.sample import LABELS, MAX_LENGTH, sample_rows, sample_task
from training_pipeline.encoder import load_tokenizer
from training_pipeline.fit import Fitted, build_model, fit
from training_pipeline.fit.early_stopping import EarlyStopping
from training_pipeline.fit.examples import Examples, Order, hold_back
from training_pipeline.fit.loss import class_weights
from training_pipeline.fit.optimizer import make_optimizer, warmup_then_decay
from training_pipeline.model import weight_hash
from training_pipeline.progress import Silent

pytestmark = pytest.mark.usefixtures("one_core")


def fit_with(base: Path, rows: int = 64, epochs: int = 1, **training: Any) -> Fitted:
    """Fit the tiny encoder to rows of the sample."""
    return fit(
        sample_rows(rows),
        sample_task(base, epochs=epochs, **training),
        base=base,
        tokenizer=load_tokenizer(base, MAX_LENGTH),
        progress=Silent(),
    )


def examples(labels: list[int]) -> Examples:
    """Return examples of one token each."""
    count = len(labels)
    return Examples(
        token_ids=np.arange(count),
        lengths=np.ones(count, dtype=np.int64),
        labels=np.array(labels),
        features=np.zeros((count, 1), dtype=np.float32),
    )


def test_the_learning_rate_rises_then_falls() -> None:
    """It reaches its peak at the end of the warm-up, never is zero before the end, and decays."""
    factors = [warmup_then_decay(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert min(factors) > 0


def test_layers_learn_at_their_own_rates(tiny_encoder: Path) -> None:
    """Head, last layer, layer below and embeddings have a rate each; biases do not decay."""
    task = sample_task(tiny_encoder, layer_decay=0.5, head_learning_rate=0.1)
    model = build_model(np.zeros((2, 1), dtype=np.float32), task, base=tiny_encoder)
    names = {weights: name for name, weights in model.named_parameters()}
    rates: dict[str, float] = {}
    for group in make_optimizer(model, task.training).param_groups:
        for weights in group["params"]:
            rates[names[weights]] = group["lr"]
            assert (group["weight_decay"] > 0) == (weights.ndim > 1)
    assert set(rates) == set(names.values())
    assert rates["head.weight"] == 0.1
    assert rates["encoder.encoder.layer.1.output.dense.weight"] == 1e-3
    assert rates["encoder.encoder.layer.0.output.dense.weight"] == 5e-4
    assert rates["encoder.embeddings.word_embeddings.weight"] == 2.5e-4


def test_layers_without_numbers_cannot_learn_at_their_own_rates(tiny_encoder: Path) -> None:
    """A decay over layers is refused where the encoder numbers none."""
    task = sample_task(tiny_encoder, layer_decay=0.5)
    model = build_model(np.zeros((2, 1), dtype=np.float32), task, base=tiny_encoder)
    del model.encoder.encoder
    with pytest.raises(TaskError, match=r"training\.layer_decay"):
        make_optimizer(model, task.training)


def test_classes_weigh_the_same_in_sum() -> None:
    """Balanced, the rows of each class weigh the same together, and a row 1 in the mean."""
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = class_weights(labels, 3, "balanced")
    np.testing.assert_allclose(np.bincount(labels, weights=weights[labels]), 10 / 3, rtol=1e-6)
    assert class_weights(labels, 3, "none").tolist() == [1, 1, 1]


def test_class_weights_change_what_is_learned(tiny_encoder: Path) -> None:
    """With rows of one label few, balanced weights give other weights than none."""
    plain = fit_with(tiny_encoder, rows=63, validation_share=0.0)
    balanced = fit_with(tiny_encoder, rows=63, validation_share=0.0, class_weights="balanced")
    assert weight_hash(plain.model) != weight_hash(balanced.model)


def test_parts_of_a_batch_sum_up_to_it(tiny_encoder: Path) -> None:
    """Four parts of a batch, uneven and dropout included, learn what the batch at once learns."""
    whole = fit_with(tiny_encoder, class_weights="balanced", epochs=3)
    parts = fit_with(tiny_encoder, class_weights="balanced", epochs=3, accumulate=5)
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-4)
    for one, two in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-4)


def test_sixteen_bits_learn_about_the_same(tiny_encoder: Path) -> None:
    """With 16-bit arithmetic the losses are near those of 32 bits, and not the same."""
    exact, rough = fit_with(tiny_encoder), fit_with(tiny_encoder, precision="bf16")
    assert exact.losses != rough.losses
    np.testing.assert_allclose(rough.losses, exact.losses, rtol=0.05)


def test_patience_ends_and_the_best_weights_stay(tiny_encoder: Path) -> None:
    """A rate that tears learning apart is stopped long before its epochs, at the best weights."""
    fitted = fit_with(
        tiny_encoder,
        epochs=40,
        patience=3,
        evaluate_steps=1,
        encoder_learning_rate=0.5,
        head_learning_rate=5.0,
        validation_share=0.3,
    )
    losses = fitted.validation_losses
    best = min(losses, key=lambda step: losses[step])
    assert len(fitted.losses) == best + 3 < 40 * 3
    # Nothing draws on how many steps come after, but for the learning rates.
    assert list(losses) == list(range(1, best + 4))


def test_the_best_weights_are_given_back() -> None:
    """The weights of the least loss are kept, and a loss that is no number is never the least."""
    model, stopping = torch.nn.Linear(1, 1), EarlyStopping(patience=2)
    for step, loss in enumerate([0.9, 0.5, float("nan"), 0.6], start=1):
        torch.nn.init.constant_(model.weight, step)
        assert not stopping.exhausted
        stopping.observe(step, loss, model)
    assert stopping.exhausted
    stopping.restore_best(model)
    assert model.weight.item() == 2.0


def test_the_newest_rows_are_held_back() -> None:
    """A share of the newest is validated on; a label that is then missing is named."""
    training = Training(base="x", validation_share=0.25)
    learn, held = hold_back(examples([0, 1, 0, 1, 0, 1, 0, 1]), training, LABELS)
    assert learn.token_ids.tolist() == [0, 1, 2, 3, 4, 5]
    assert held.token_ids.tolist() == [6, 7]
    with pytest.raises(StateError, match="no row labelled positive"):
        hold_back(examples([0, 0, 0, 0, 0, 0, 0, 1]), training, LABELS)
    patient = Training(base="x", validation_share=0.01, patience=1)
    with pytest.raises(StateError, match=r"training\.patience is given"):
        hold_back(examples([0, 1]), patient, LABELS)


def test_an_order_is_a_function_of_the_step() -> None:
    """Each epoch holds every row once, in another order, whichever step is asked for first."""
    training = Training(base="x", epochs=2, batch_size=8)
    order, again = (Order(np.arange(1, 31), training) for _ in range(2))
    assert (order.steps_an_epoch, order.steps) == (4, 8)
    backwards = [again.batch(step).tolist() for step in reversed(range(8))][::-1]
    assert [order.batch(step).tolist() for step in range(8)] == backwards
    first, second = ([row for batch in backwards[i : i + 4] for row in batch] for i in (0, 4))
    assert sorted(first) == sorted(second) == list(range(30))
    assert first != second
