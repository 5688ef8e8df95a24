from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from tests.training.sample import MAX_LENGTH, sample_rows, sample_task
from training_pipeline.encoder import TextTokenizer, load_tokenizer
from training_pipeline.evaluation.parity import compare, torch_logits
from training_pipeline.export import export
from training_pipeline.fit import Fitted, fit
from training_pipeline.model import weight_hash
from training_pipeline.onnx_model import MODEL_FILE, OnnxModel
from training_pipeline.progress import Silent
from training_pipeline.rows import Rows

pytestmark = pytest.mark.usefixtures("one_core")


@dataclass(frozen=True)
class Exported:
    """A fitted model, what it learned from and the file it was exported to."""

    fitted: Fitted
    tokenizer: TextTokenizer
    rows: Rows
    onnx: OnnxModel


def fit_sample(base: Path, rows: Rows, *, seed: int = 7, epochs: int = 1) -> Fitted:
    """Train the tiny encoder on rows of the sample."""
    task = sample_task(base, epochs=epochs, seed=seed)
    tokenizer = load_tokenizer(base, MAX_LENGTH)
    return fit(rows, task, base=base, tokenizer=tokenizer, progress=Silent())


@pytest.fixture(scope="module")
def exported(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A model that was trained for a while, and exported."""
    rows = sample_rows(200)
    fitted = fit_sample(tiny_encoder, rows, epochs=6)
    tokenizer = load_tokenizer(tiny_encoder, MAX_LENGTH)
    folder = tmp_path_factory.mktemp("exported")
    onnx = export(fitted.model, tokenizer, folder, max_length=MAX_LENGTH)
    return Exported(fitted=fitted, tokenizer=tokenizer, rows=rows, onnx=onnx)


def test_the_same_seed_gives_the_same_bits(tiny_encoder: Path) -> None:
    """Training twice with one seed gives identical weights; another seed gives others."""
    rows = sample_rows(64)
    first, again = fit_sample(tiny_encoder, rows), fit_sample(tiny_encoder, rows)
    other = fit_sample(tiny_encoder, rows, seed=8)
    assert first.losses == again.losses
    assert weight_hash(first.model) == weight_hash(again.model)
    assert weight_hash(first.model) != weight_hash(other.model)


def test_it_learns(exported: Exported) -> None:
    """The loss falls, and texts whose words tell their label are labelled right."""
    losses, rows = exported.fitted.losses, exported.rows
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    unseen = sample_rows(100, seed=1)
    logits = torch_logits(exported.fitted.model, exported.tokenizer, unseen, max_length=MAX_LENGTH)
    assert np.mean(logits.argmax(axis=1) == unseen.labels) > 0.9
    learned_from = len(rows) - len(rows) // 10
    assert len(losses) == 6 * -(-learned_from // 16)


def test_the_file_agrees_with_torch(exported: Exported) -> None:
    """On real rows, missing features among them, the exported file gives torch's logits."""
    rows = exported.rows
    onnx = exported.onnx.logits(rows.texts.tolist(), rows.features)
    reference = torch_logits(exported.fitted.model, exported.tokenizer, rows, max_length=MAX_LENGTH)
    measured = compare(onnx, reference)
    assert measured.rows == 200
    assert measured.label_agreement == 1.0
    assert measured.max_logit_difference < 1e-4


@pytest.mark.parametrize(
    ("batch", "length"), [(1, 1), (1, MAX_LENGTH), (3, 2), (2, 8), (17, 5), (40, MAX_LENGTH)]
)
def test_batch_and_length_are_free(exported: Exported, batch: int, length: int) -> None:
    """Any batch and any length up to the longest run, with all features missing or present."""
    session = onnxruntime.InferenceSession(str(exported.onnx.folder / MODEL_FILE))
    ids = np.arange(batch * length, dtype=np.int64).reshape(batch, length) % 50
    features = np.full((batch, 2), np.nan, dtype=np.float32)
    features[batch // 2 :] = 3.0
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "features": features}
    (logits,) = session.run(["logits"], inputs)
    with torch.inference_mode():
        reference = exported.fitted.model(*(torch.from_numpy(part) for part in inputs.values()))
    assert logits.shape == (batch, 2)
    np.testing.assert_allclose(logits, reference.numpy(), atol=1e-4)


def test_the_export_is_two_plain_files(exported: Exported) -> None:
    """One ONNX file without external data, and a tokenizer that neither cuts nor pads."""
    folder = exported.onnx.folder
    assert sorted(file.name for file in folder.iterdir()) == ["model.onnx", "tokenizer.json"]
    saved = json.loads((folder / "tokenizer.json").read_text())
    assert saved["truncation"] is None
    assert saved["padding"] is None


def test_a_poisoned_logit_is_no_agreement() -> None:
    """A logit that is not a number shows as an infinite difference."""
    bad = np.array([[np.nan, 1.0]], dtype=np.float32)
    assert compare(bad, np.zeros((1, 2), dtype=np.float32)).max_logit_difference == float("inf")
