"""A small model with layers, and the same quantised so that answers lean on their neighbours.

Its activations get one scale a batch, as in every file of ONNX's dynamic quantisation: a text's
logits change a little with the texts, and the padding, that run beside it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer

from inference_pipeline.versions.model import LoadedModel
from inference_pipeline.versions.sessions import Sessions
from shared.feature_store import FeatureService
from shared.manifest import (
    ATTENTION_MASK,
    FEATURES,
    INPUT_IDS,
    LOGITS,
    TOKENIZER_FILE,
    read_manifest,
)
from tests.inference.tiny_model import LABELS, TinyModel, classifier

WORDS = 50
MAX_LENGTH = 24
_WIDTH = 32


def make_variants(folder: Path, service: FeatureService) -> dict[str, LoadedModel]:
    """Return the model loaded in full precision and in eight bits."""
    package = TinyModel().write(folder / "package", service)
    files = {"fp32": folder / "model.onnx", "int8": folder / "model.int8.onnx"}
    onnx.save(_graph(len(service.features)), files["fp32"])
    logging.disable(logging.WARNING)  # it recommends a preparation that changes nothing here
    try:
        quantize_dynamic(files["fp32"], files["int8"], weight_type=QuantType.QInt8)
    finally:
        logging.disable(logging.NOTSET)
    manifest = read_manifest(package)
    return {
        variant: LoadedModel(
            manifest,
            Tokenizer.from_file(str(package / TOKENIZER_FILE)),
            Sessions(file, lone_pass_threads=1),
            variant=variant,
        )
        for variant, file in files.items()
    }


def _graph(features: int) -> onnx.ModelProto:
    """Return: words' rows, a layer, their mean where the mask is 1, features beside it, a head."""
    random = np.random.default_rng(7)

    def weights(*shape: int) -> npt.NDArray[np.float32]:
        return random.normal(0, shape[0] ** -0.5, shape).astype(np.float32)

    constants: dict[str, npt.NDArray[Any]] = {
        "embedding": random.normal(0, 1, (WORDS, _WIDTH)).astype(np.float32),
        "layer": weights(_WIDTH, _WIDTH),
        "head": 4 * weights(_WIDTH + features, len(LABELS)),
        "zero": np.array(0, np.float32),
        "last": np.array([2], np.int64),
        "tokens": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["embedding", INPUT_IDS], ["rows"]),
        helper.make_node("MatMul", ["rows", "layer"], ["mixed"]),
        helper.make_node("Tanh", ["mixed"], ["hidden"]),
        helper.make_node("Cast", [ATTENTION_MASK], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["hidden", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "tokens"], ["summed"], keepdims=0),
        helper.make_node("ReduceSum", ["column", "tokens"], ["count"], keepdims=0),
        helper.make_node("Div", ["summed", "count"], ["pooled"]),
        helper.make_node("IsNaN", [FEATURES], ["missing"]),
        helper.make_node("Where", ["missing", "zero", FEATURES], ["known"]),
        helper.make_node("Concat", ["pooled", "known"], ["joined"], axis=1),
        helper.make_node("MatMul", ["joined", "head"], [LOGITS]),
    ]
    return classifier(nodes, constants, features=features)
