"""A version in memory answers as its files say, or is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inference_pipeline.versions.loading import load_model
from inference_pipeline.versions.model import Floats, LoadedModel, softmax
from inference_pipeline.versions.variants import ParityBounds
from shared.errors import ContractError
from shared.feature_store import FeatureService
from shared.manifest import MANIFEST_FILE, TOKENIZER_FILE, sha256_of
from tests.inference.tiny_model import LABELS, Int8, TinyModel


@pytest.fixture
def folder(tmp_path: Path, feature_service: FeatureService) -> Path:
    """The files of a sound version."""
    return TinyModel(bias=0.5).write(tmp_path / "version", feature_service)


def change_manifest(folder: Path, **changes: object) -> None:
    """Replace fields of a manifest."""
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def logits(model: LoadedModel, texts: list[str], features: Floats | None = None) -> Floats:
    """Return the model's answer, by default without features."""
    given = model.no_features(len(texts)) if features is None else features
    return model.scores(model.encode(texts), given)


def test_a_batch_gives_what_each_text_gives_alone(folder: Path) -> None:
    """Padding to the longest text of a batch changes no answer, and rows keep their order."""
    model = load_model(folder)
    features = np.array([[1, 2, 3, 4], [np.nan, 1, 0, 0], [0, 0, 0, 0]], np.float32)
    texts = ["good", "bad late bad flight", "great flight"]
    together = logits(model, texts, features)
    for row, text in enumerate(texts):
        wanted = TinyModel(bias=0.5).logits(text.split(), list(features[row]))
        np.testing.assert_allclose(together[row], wanted, rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_pass_that_is_alone_answers_as_any_other(folder: Path, threads: int) -> None:
    """However many cores it takes, the logits are those of the version."""
    model = load_model(folder, lone_pass_threads=threads)
    encodings = model.encode(["good", "bad late bad flight"])
    features = model.no_features(2)
    alone = model.scores(encodings, features, alone=True)
    np.testing.assert_allclose(alone, model.scores(encodings, features), rtol=1e-6)


def test_probabilities_are_the_softmax_of_the_logits(folder: Path) -> None:
    """Rows sum to one and keep the order of the logits."""
    scores = logits(load_model(folder), ["great good bad"])
    exponents = np.exp(scores)
    assert scores.shape == (1, len(LABELS))
    np.testing.assert_allclose(softmax(scores), exponents / exponents.sum(), rtol=1e-5)


def test_an_encoding_is_as_long_as_its_text(folder: Path) -> None:
    """Encodings are not padded: the scheduler packs batches by their lengths."""
    model = load_model(folder)
    assert [len(encoding) for encoding in model.encode(["good", "late flight", "bad " * 50])] == [
        1,
        2,
        model.manifest.max_length,
    ]


def test_a_closed_version_answers_no_more(folder: Path) -> None:
    """What was closed by mistake while in use is told, instead of answered from freed memory."""
    model = load_model(folder)
    model.close()
    assert model.closed
    with pytest.raises(RuntimeError, match="closed"):
        logits(model, ["good"])


def test_a_long_text_is_cut(folder: Path) -> None:
    """Words after the manifest's max_length are not read."""
    model = load_model(folder)
    cut = logits(model, ["late " * 8])
    np.testing.assert_array_equal(logits(model, ["late " * 8 + "great " * 50]), cut)


def test_a_changed_file_is_refused(folder: Path) -> None:
    """A byte more in the ONNX file is found by its hash."""
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ContractError, match="SHA-256"):
        load_model(folder)


@pytest.mark.parametrize(
    ("file", "expected"), [("model.onnx", "an ONNX model"), (TOKENIZER_FILE, "a tokenizer")]
)
def test_a_file_that_is_no_model_is_refused(folder: Path, file: str, expected: str) -> None:
    """Files with the right hash and the wrong content are told by name."""
    (folder / file).write_text("not what it should be")
    sha256 = sha256_of(folder / file)
    if file == TOKENIZER_FILE:
        change_manifest(folder, tokenizer_sha256=sha256)
    else:
        variants = json.loads((folder / MANIFEST_FILE).read_text())["variants"]
        variants["fp32"]["sha256"] = sha256
        change_manifest(folder, variants=variants)
    with pytest.raises(ContractError, match=rf"{file}.*{expected}"):
        load_model(folder)


@pytest.mark.parametrize("error", [0.5, float("nan")], ids=["too far", "not a number"])
def test_another_golden_answer_is_refused(
    tmp_path: Path, feature_service: FeatureService, error: float
) -> None:
    """A version that does not answer its golden input as when it was made must not serve."""
    if np.isnan(error):
        folder = TinyModel(bias=error).write(tmp_path / "nan", feature_service)
        change_manifest(folder, golden={"text": "late flight", "logits": [2, 2, 0]})
    else:
        folder = TinyModel(golden_error=error).write(tmp_path / "far", feature_service)
    with pytest.raises(ContractError, match="golden input"):
        load_model(folder)


def test_a_graph_of_another_width_is_refused(folder: Path) -> None:
    """The ONNX file must take as many features as the manifest lists."""
    change_manifest(folder, features=["subject_activity__mentions_24h"])
    with pytest.raises(ContractError, match=r"1 columns.*found 4"):
        load_model(folder)


@pytest.mark.parametrize(
    "int8",
    [
        Int8(error=0.05, label_agreement=0.9),
        Int8(error=0.05, max_logit_difference=0.6),
        Int8(error=0.05, accepted=False),
    ],
    ids=["labels differ", "logits differ", "withheld by the gate"],
)
def test_a_variant_without_parity_never_serves(
    tmp_path: Path, feature_service: FeatureService, int8: Int8
) -> None:
    """However fast it is, full precision answers."""
    model = load_model(TinyModel(int8=int8).write(tmp_path / "version", feature_service))
    assert (model.variant, model.refused_variants) == ("fp32", ())
    wanted = TinyModel().logits(["late", "flight"], [])
    np.testing.assert_allclose(logits(model, ["late flight"])[0], wanted, rtol=1e-6)


def test_parity_bounds_are_the_operators(tmp_path: Path, feature_service: FeatureService) -> None:
    """With wider bounds the variant is let in, and one of the two serves."""
    int8 = Int8(error=0.05, label_agreement=0.9)
    folder = TinyModel(int8=int8).write(tmp_path / "version", feature_service)
    model = load_model(folder, ParityBounds(min_label_agreement=0.9))
    extra = 0.0 if model.variant == "fp32" else int8.error
    wanted = TinyModel(bias=extra).logits(["late", "flight"], [])
    np.testing.assert_allclose(logits(model, ["late flight"])[0], wanted, rtol=1e-6)


def test_a_variant_that_answers_otherwise_here_is_left_aside(
    tmp_path: Path, feature_service: FeatureService
) -> None:
    """Full precision serves, and the reason is kept: the recorded parity does not hold here."""
    folder = TinyModel(int8=Int8(error=0.3)).write(tmp_path / "version", feature_service)
    model = load_model(folder)
    assert model.variant == "fp32"
    (reason,) = model.refused_variants
    assert "variant int8, golden input" in reason.place
