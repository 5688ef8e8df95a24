"""The loader of MLflow's python_function flavor: it travels inside each version, with its files.

It needs numpy, onnxruntime, pandas and tokenizers, and unpickles nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from tokenizers import Tokenizer

from shared.text import normalise

_TEXT = "text"


class MentionModel:
    """Labels texts, in full precision."""

    def __init__(self, folder: Path) -> None:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
        self._labels: list[str] = manifest["labels"]
        self._features: list[str] = manifest["features"]
        self._pad = int(manifest["pad_token_id"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(max_length=int(manifest["max_length"]))
        self._session = onnxruntime.InferenceSession(
            str(folder / manifest["variants"]["fp32"]["file"]), providers=["CPUExecutionProvider"]
        )

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:  # noqa: ARG002 - MLflow's
        """Return a frame of label and probabilities.

        Args:
            model_input: a column ``text``, and the columns of features that are known; a feature
                whose column or value is absent counts as missing.
            params: none are taken.
        """
        features = model_input.reindex(columns=self._features).to_numpy(dtype=np.float32)
        rows = [
            self._probabilities(normalise(str(text)), features[[row]])
            for row, text in enumerate(model_input[_TEXT])
        ]
        probabilities = np.array(rows, dtype=np.float64).reshape(-1, len(self._labels))
        answer = pd.DataFrame(probabilities, columns=self._labels, index=model_input.index)
        answer.insert(0, "label", [self._labels[i] for i in probabilities.argmax(axis=1)])
        return answer

    def _probabilities(self, text: str, features: Any) -> Any:
        """Return [labels] of one text: alone, so that an answer leans on no neighbour."""
        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "features": features,  # [1, features]
        }
        logits = self._session.run(["logits"], inputs)[0][0].astype(np.float64)
        exponents = np.exp(logits - logits.max())
        return exponents / exponents.sum()


def _load_pyfunc(path: str) -> MentionModel:
    """Load the version in a folder; MLflow looks for a function of this name."""
    return MentionModel(Path(path))
