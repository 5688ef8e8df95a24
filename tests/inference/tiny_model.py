"""A model version small enough for tests: sums of word embeddings, as real ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from shared.feature_store import FeatureService
from shared.manifest import (
    ATTENTION_MASK,
    FEATURES,
    INPUT_IDS,
    LOGITS,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    Golden,
    Manifest,
    Variant,
    sha256_of,
)
from shared.subjects import SourceRules, SubjectRules

Floats = npt.NDArray[np.float32]

LABELS = ["negative", "neutral", "positive"]
WORDS = {"[PAD]": 0, "[UNK]": 1, "bad": 2, "late": 3, "flight": 4, "good": 5, "great": 6}
# One row a word: what it adds to each label's logit. Padding would show: its row is not zero.
EMBEDDING = np.array(
    [[9, 9, 9], [0, 1, 0], [3, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 3], [0, 0, 4]], np.float32
)
FEATURE_WEIGHT = 0.1


@dataclass(frozen=True)
class Int8:
    """A second ONNX file, as if quantised: full precision's with an error."""

    error: float = 0.0
    """Added to the logit of ``negative``."""
    label_agreement: float = 1.0
    max_logit_difference: float = 0.1
    accepted: bool = True
    """As the manifest records them."""


@dataclass(frozen=True)
class TinyModel:
    """How a tiny version differs from others, and what is wrong with it."""

    bias: float = 0.0
    """Added to the logit of ``negative``: tells versions apart by their answers."""
    feature_hash: str | None = None
    """In place of the service's."""
    golden_error: float = 0.0
    """Added to the golden logits of the manifest."""
    int8: Int8 | None = None
    spare_words: int = 0
    """Rows of the embedding for words that no text has: they make the version large."""

    def logits(self, words: Sequence[str], features: Sequence[float]) -> Floats:
        """Return by plain arithmetic what the ONNX file must answer."""
        known = np.nan_to_num(np.array(features, np.float32))
        scores: Floats = EMBEDDING[[WORDS.get(word, 1) for word in words]].sum(axis=0)
        scores += np.array([self.bias, 0, FEATURE_WEIGHT * known.sum()], np.float32)
        return scores

    def write(self, folder: Path, service: FeatureService) -> Path:
        """Write the files of the version and return the folder."""
        folder.mkdir(parents=True)
        columns = [feature.column for feature in service.features]
        tokenizer = Tokenizer(WordLevel(WORDS, "[UNK]"))
        tokenizer.pre_tokenizer = Whitespace()
        tokenizer.save(str(folder / TOKENIZER_FILE))
        golden = self.logits(["late", "flight"], []) + self.golden_error
        manifest = Manifest(
            task=service.name,
            labels=LABELS,
            feature_service=service.name,
            feature_hash=self.feature_hash or service.hash,
            features=columns,
            max_length=8,
            pad_token_id=0,
            tokenizer_sha256=sha256_of(folder / TOKENIZER_FILE),
            variants=self._variants(folder, len(columns)),
            golden=Golden(text="late flight", logits=[float(x) for x in golden]),
            subjects=SubjectRules(aliases={"united": ["@united"]}),
            sources=SourceRules(pattern=r"RT @(\w+)"),
            metrics={"accuracy": 0.75},
        )
        (folder / MANIFEST_FILE).write_text(manifest.model_dump_json())
        return folder

    def _variants(self, folder: Path, features: int) -> dict[str, Variant]:
        made = {"fp32": Int8(max_logit_difference=0.0)}
        if self.int8 is not None:
            made["int8"] = self.int8
        variants = {}
        for name, made_as in made.items():
            file = folder / ("model.onnx" if name == "fp32" else f"model.{name}.onnx")
            onnx.save(_graph(features, self.bias + made_as.error, self.spare_words), file)
            variants[name] = Variant(
                file=file.name,
                sha256=sha256_of(file),
                label_agreement=made_as.label_agreement,
                max_logit_difference=made_as.max_logit_difference,
                accepted=made_as.accepted,
            )
        return variants


def _graph(features: int, bias: float, spare_words: int) -> onnx.ModelProto:
    """Return: sum of the words' rows where the mask is 1, plus weighted known features."""
    weights = np.zeros((features, len(LABELS)), np.float32)
    weights[:, LABELS.index("positive")] = FEATURE_WEIGHT
    constants: dict[str, npt.NDArray[Any]] = {
        "embedding": np.concatenate([EMBEDDING, np.zeros((spare_words, len(LABELS)), np.float32)]),
        "weights": weights,
        "bias": np.array([bias, 0, 0], np.float32),
        "zero": np.array(0, np.float32),
        "last": np.array([2], np.int64),
        "tokens": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["embedding", INPUT_IDS], ["rows"]),
        helper.make_node("Cast", [ATTENTION_MASK], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "tokens"], ["summed"], keepdims=0),
        helper.make_node("IsNaN", [FEATURES], ["missing"]),
        helper.make_node("Where", ["missing", "zero", FEATURES], ["known"]),
        helper.make_node("MatMul", ["known", "weights"], ["activity"]),
        helper.make_node("Add", ["summed", "activity"], ["both"]),
        helper.make_node("Add", ["both", "bias"], [LOGITS]),
    ]
    return classifier(nodes, constants, features=features)


def classifier(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, npt.NDArray[Any]],
    *,
    features: int,
) -> onnx.ModelProto:
    """Return a model with the inputs and the output of real ones.

    Args:
        nodes: from ids, mask and features to logits.
        constants: what they read beside those, by name.
        features: how many there are.
    """
    graph = helper.make_graph(
        nodes,
        "classifier",
        [
            helper.make_tensor_value_info(INPUT_IDS, TensorProto.INT64, ["batch", "length"]),
            helper.make_tensor_value_info(ATTENTION_MASK, TensorProto.INT64, ["batch", "length"]),
            helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", features]),
        ],
        [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model
