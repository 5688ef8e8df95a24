"""The export: the fitted model as one ONNX file, with its tokenizer beside it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch

from shared.manifest import ATTENTION_MASK, FEATURES, INPUT_IDS, LOGITS, TOKENIZER_FILE
from training_pipeline.encoder import TextTokenizer
from training_pipeline.model import MentionClassifier
from training_pipeline.onnx_model import MODEL_FILE, OnnxModel

# Traced with more than one text and more than one token: a size of 1 would be taken as fixed.
_TRACED_BATCH, _TRACED_LENGTH = 2, 8


def export(
    model: MentionClassifier, tokenizer: TextTokenizer, folder: Path, *, max_length: int
) -> OnnxModel:
    """Write model.onnx and tokenizer.json; return the ONNX file, loaded.

    Args:
        model: in evaluation mode.
        tokenizer: written without padding and cutting: a server cuts to the manifest's length.
        folder: must be there.
        max_length: the most tokens of a text. Batch and length are dynamic, from 1 on.
    """
    path = folder / MODEL_FILE
    batch = torch.export.Dim("batch", min=1)
    length = torch.export.Dim("length", min=1, max=max_length)
    features = torch.zeros(_TRACED_BATCH, len(model.feature_mean))
    features[0] = torch.nan
    ids = torch.ones(_TRACED_BATCH, min(_TRACED_LENGTH, max_length), dtype=torch.int64)
    for chatty in ("torch.onnx", "onnxscript", "onnx_ir"):  # they tell of every rewritten node
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Torch warns of its own deprecated calls, and that two inputs share a dynamic axis.
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
        torch.onnx.export(
            model,
            (ids, torch.ones_like(ids), features),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=[INPUT_IDS, ATTENTION_MASK, FEATURES],
            output_names=[LOGITS],
            dynamic_shapes={
                INPUT_IDS: {0: batch, 1: length},
                ATTENTION_MASK: {0: batch, 1: length},
                FEATURES: {0: batch},
            },
        )
    tokenizer.save(folder / TOKENIZER_FILE)
    return OnnxModel(path, tokenizer, max_length=max_length)
