"""A model package without a server: tokenizer and onnxruntime, as a few lines of Python.

It is the ceiling, the judge of right answers, and what the peers serve. It knows nothing of the
project, since peers run in an environment of their own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tokenizers import Tokenizer

Floats = npt.NDArray[np.float32]


class BareModel:
    """Labels one text at a time; nothing is padded. Threads may share it."""

    def __init__(self, folder: Path, file: str, *, threads: int) -> None:
        """Load a package.

        Args:
            folder: holds the ONNX files, ``tokenizer.json`` and ``manifest.json``.
            file: the ONNX file.
            threads: of a forward pass; 0 is onnxruntime's own choice.
        """
        manifest = json.loads((folder / "manifest.json").read_bytes())
        self.labels: list[str] = manifest["labels"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(manifest["max_length"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            str(folder / file), options, providers=["CPUExecutionProvider"]
        )
        self._unknown = np.full((1, len(manifest["features"])), np.nan, dtype=np.float32)

    def logits(self, text: str, features: Floats | None = None) -> Floats:
        """Return float32 [labels] for a text; features are [1, features], unknown by default."""
        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "features": self._unknown if features is None else features,
        }
        answer: Floats = self._session.run(["logits"], inputs)[0][0]
        return answer

    def predict(self, text: str) -> tuple[str, dict[str, float]]:
        """Return the label and the probability of each."""
        logits = self.logits(text)
        exponents = np.exp(logits - logits.max())
        shares = (exponents / exponents.sum()).tolist()
        return self.labels[int(logits.argmax())], dict(zip(self.labels, shares, strict=True))

    def label_all(self, texts: Sequence[str], features: Floats | None = None) -> list[str]:
        """Return the label of each text; features are [texts, features]."""
        return [
            self.labels[
                int(self.logits(text, None if features is None else features[[row]]).argmax())
            ]
            for row, text in enumerate(texts)
        ]
