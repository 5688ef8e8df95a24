"""The exported model, run by the engine that serves it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.manifest import ATTENTION_MASK, FEATURES, INPUT_IDS, LOGITS
from training_pipeline.batches import batches_by_length, pad
from training_pipeline.encoder import TextTokenizer

FULL_PRECISION, INT8 = "fp32", "int8"
"""Names of the variants in a manifest."""
MODEL_FILE = "model.onnx"
INT8_FILE = "model.int8.onnx"
EVALUATION_BATCH = 16
"""Texts of like length a batch, about as many as a server under load puts together."""

Logits = npt.NDArray[np.float32]


class OnnxModel:
    """The exported file, run by the engine that serves it."""

    def __init__(self, path: Path, tokenizer: TextTokenizer, *, max_length: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.path = path
        self.folder = path.parent
        self.tokenizer = tokenizer
        self.max_length = max_length

    def beside(self, path: Path) -> OnnxModel:
        """Return another file of the same model, loaded: same tokenizer, same length."""
        return OnnxModel(path, self.tokenizer, max_length=self.max_length)

    def lengths(self, texts: list[str]) -> npt.NDArray[np.int64]:
        """Return how many tokens of each text the model reads, [texts]."""
        return np.array([len(ids) for ids in self.tokenizer.encode(texts, self.max_length)])

    def logits(
        self,
        texts: list[str],
        features: npt.NDArray[np.float32],
        *,
        batch_size: int = EVALUATION_BATCH,
    ) -> Logits:
        """Return logits [texts, labels].

        Args:
            texts: normalised texts.
            features: [texts, features]; NaN where missing.
            batch_size: texts of like length that run together.
        """
        tokens = self.tokenizer.encode(texts, self.max_length)
        answers: dict[int, Logits] = {}
        for batch in batches_by_length(np.array([len(ids) for ids in tokens]), batch_size):
            input_ids, attention_mask = pad([tokens[i] for i in batch], self.tokenizer.pad_token_id)
            inputs = {
                INPUT_IDS: input_ids,
                ATTENTION_MASK: attention_mask,
                FEATURES: features[batch],
            }
            answers.update(zip(batch.tolist(), self._session.run([LOGITS], inputs)[0], strict=True))
        return np.stack([answers[i] for i in range(len(texts))])
