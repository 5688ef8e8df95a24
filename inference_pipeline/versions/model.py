"""A model version in memory: its tokenizer and its ONNX sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from inference_pipeline.versions.sessions import Inputs, Sessions
from inference_pipeline.versions.variants import FULL_PRECISION
from shared.errors import ContractError
from shared.manifest import (
    ATTENTION_MASK,
    FEATURES,
    INPUT_IDS,
    LOGITS,
    Manifest,
)

Floats = npt.NDArray[np.float32]

_WARM_UP_BATCH = 8


@dataclass(frozen=True, eq=False)
class Encoding:
    """One text as the model reads it."""

    ids: npt.NDArray[np.int64]
    """Token ids, special tokens included, cut to the manifest's max_length, not padded."""

    def __len__(self) -> int:
        return len(self.ids)


class LoadedModel:
    """Turns texts and features into logits. Safe to call from several threads at a time."""

    def __init__(
        self,
        manifest: Manifest,
        tokenizer: Tokenizer,
        sessions: Sessions,
        *,
        variant: str = FULL_PRECISION,
        refused_variants: tuple[ContractError, ...] = (),
    ) -> None:
        self.manifest = manifest
        self.variant = variant
        self.refused_variants = refused_variants
        """Why variants that would be faster do not serve, though their recorded parity passes."""
        self._tokenizer = tokenizer
        self._sessions: Sessions | None = sessions
        # Changed here only: a tokenizer that is changed while others encode gives wrong answers.
        tokenizer.enable_truncation(max_length=manifest.max_length)
        tokenizer.no_padding()

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Return B encodings of B texts as `shared.text.normalise` leaves them."""
        # One by one: a batch would be spread over threads that compete with the forward passes.
        encoded = map(self._tokenizer.encode, texts)
        return [Encoding(np.array(row.ids, dtype=np.int64)) for row in encoded]

    def scores(
        self, encodings: Sequence[Encoding], features: Floats, *, alone: bool = False
    ) -> Floats:
        """Return the scores before softmax.

        Args:
            encodings: B texts; they are padded to the longest.
            features: float32 [B, features] in the manifest's order, NaN where one is missing.
            alone: nothing else runs: the pass may take all cores.

        Returns:
            float32 [B, labels] in the manifest's order.
        """
        sessions = self._sessions
        if sessions is None:
            raise RuntimeError("the model version is closed")
        scores: Floats = sessions.run(LOGITS, self._inputs(encodings, features), alone=alone)
        return scores

    def warm_up(self, *, alone: bool = False) -> None:
        """Run a pass as requests will: the first at a batch size allocates."""
        texts = self.encode([self.manifest.golden.text] * _WARM_UP_BATCH)
        self.scores(texts, self.no_features(_WARM_UP_BATCH), alone=alone)

    def _inputs(self, encodings: Sequence[Encoding], features: Floats) -> Inputs:
        shape = (len(encodings), max(map(len, encodings)))
        ids = np.full(shape, self.manifest.pad_token_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
        return {INPUT_IDS: ids, ATTENTION_MASK: mask, FEATURES: features}

    def no_features(self, rows: int) -> Floats:
        """Return float32 [rows, features] that says that every feature is missing."""
        return np.full((rows, len(self.manifest.features)), np.nan, dtype=np.float32)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._sessions is None

    def close(self) -> None:
        """Let go of the sessions' memory. A pass that runs ends well; later ones are refused."""
        self._sessions = None


def softmax(logits: Floats) -> Floats:
    """Return the probabilities of logits, float32 [B, labels]; rows sum to one."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities
