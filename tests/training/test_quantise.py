from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.training.sample import LABELS, MAX_LENGTH, sample_rows, sample_task
from training_pipeline.encoder import load_tokenizer
from training_pipeline.evaluation.champion import FeatureSchema
from training_pipeline.evaluation.evaluation import Examination, FileEvaluation, evaluate_files
from training_pipeline.evaluation.parity import torch_logits
from training_pipeline.export import export
from training_pipeline.fit import fit
from training_pipeline.onnx_model import INT8_FILE, OnnxModel
from training_pipeline.progress import Silent
from training_pipeline.quantise import quantise
from training_pipeline.rows import Rows


@dataclass(frozen=True)
class Quantised:
    """Both files of a fitted model, and what was measured of them on rows."""

    files: dict[str, OnnxModel]
    rows: Rows
    reference: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    """Torch's logits."""
    evaluated: dict[str, FileEvaluation]


@pytest.fixture(scope="module")
def quantised(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Quantised:
    """A tiny model in full precision and in eight bits."""
    folder = tmp_path_factory.mktemp("quantised")
    tokenizer = load_tokenizer(tiny_encoder, MAX_LENGTH)
    task = sample_task(tiny_encoder, epochs=3)
    model = fit(
        sample_rows(150), task, base=tiny_encoder, tokenizer=tokenizer, progress=Silent()
    ).model
    exact = export(model, tokenizer, folder, max_length=MAX_LENGTH)
    files = {"fp32": exact, "int8": exact.beside(quantise(exact.path, folder / INT8_FILE))}
    rows = sample_rows(120, seed=1)
    examination = Examination(
        labels=LABELS,
        schema=FeatureSchema("f" * 64, ["a", "b"]),
        behaviour=None,
        champion=None,
        min_slice_rows=30,
        seed=7,
    )
    return Quantised(
        files=files,
        rows=rows,
        reference=torch_logits(model, tokenizer, rows, max_length=MAX_LENGTH),
        evaluated=evaluate_files(files, model, rows, examination),
    )


def test_the_variant_holds_weights_in_eight_bits(quantised: Quantised) -> None:
    """So does each product with a weight; batch and length are as free as in full precision."""
    graph = onnx.load(quantised.files["int8"].path).graph
    exact = onnx.load(quantised.files["fp32"].path).graph
    weights = {weight.name for weight in exact.initializer}
    products = [node for node in exact.node if node.op_type == "MatMul" and {*node.input} & weights]
    assert sum(node.op_type == "MatMulNBits" for node in graph.node) == len(products) > 0
    assert [one.name for one in graph.input] == [one.name for one in exact.input]
    assert quantised.files["int8"].logits(["late"], np.full((1, 2), np.nan, np.float32)).shape == (
        1,
        2,
    )


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_the_parity_recorded_is_what_is_measured(quantised: Quantised, variant: str) -> None:
    """Of batches and of texts alone the worse counts: nobody is served worse than recorded."""
    file, rows = quantised.files[variant], quantised.rows
    texts = rows.texts.tolist()
    ways = [
        file.logits(texts, rows.features),
        np.concatenate(
            [file.logits([text], rows.features[[row]]) for row, text in enumerate(texts)]
        ),
    ]
    agreement = [
        float(np.mean(way.argmax(axis=1) == quantised.reference.argmax(axis=1))) for way in ways
    ]
    found = quantised.evaluated[variant].parity
    assert found.rows == len(rows)
    assert found.label_agreement == pytest.approx(min(agreement))
    farthest = max(float(np.abs(way - quantised.reference).max()) for way in ways)
    assert found.max_logit_difference == pytest.approx(farthest)


def test_a_text_is_answered_alike_in_any_company(quantised: Quantised) -> None:
    """Eight bits have scales of each token's own: neighbours and padding change nothing to see."""
    file, texts, features = (
        quantised.files["int8"],
        quantised.rows.texts.tolist(),
        quantised.rows.features,
    )
    together = file.logits(texts, features, batch_size=len(texts))
    alone = [file.logits([text], features[[row]])[0] for row, text in enumerate(texts)]
    assert np.abs(together - np.stack(alone)).max() < 1e-4


def test_eight_bits_stay_near(quantised: Quantised) -> None:
    """Logits move, and by little; full precision does not move."""
    exact, small = (quantised.evaluated[name].parity for name in ("fp32", "int8"))
    assert exact.max_logit_difference < 1e-4 < small.max_logit_difference < 0.5
    assert small.label_agreement > 0.95
