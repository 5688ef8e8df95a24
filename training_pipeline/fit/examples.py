"""The examples: rows as the model reads them, and their order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shared.errors import StateError
from shared.task import Training
from training_pipeline.batches import pad, shuffled_batches
from training_pipeline.encoder import TextTokenizer
from training_pipeline.rows import Indices, Rows


class Batch(NamedTuple):
    """A padded batch; a row whose weight is 0 only keeps it from being empty."""

    input_ids: Tensor
    """int64 [rows, length]"""
    attention_mask: Tensor
    """int64 [rows, length]"""
    features: Tensor
    """float32 [rows, features]"""
    labels: Tensor
    """int64 [rows]"""
    places: Tensor
    """int64 [rows], of each row in the global batch."""
    weights: Tensor
    """float32 [rows], of each row in the loss."""


@dataclass(frozen=True)
class Examples:
    """Tokenised rows, oldest first, as plain arrays: so they can be sent to other processes."""

    token_ids: npt.NDArray[np.int64]
    """[tokens of all texts], one text after the other."""
    lengths: npt.NDArray[np.int64]
    """[rows], tokens of each text."""
    labels: npt.NDArray[np.int64]
    """[rows]"""
    features: npt.NDArray[np.float32]
    """[rows, features]; NaN where missing."""

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, start: int, stop: int) -> Examples:
        """Return the examples from ``start`` up to, but without, ``stop``."""
        tokens = slice(self.lengths[:start].sum(), self.lengths[:stop].sum())
        return Examples(
            token_ids=self.token_ids[tokens],
            lengths=self.lengths[start:stop],
            labels=self.labels[start:stop],
            features=self.features[start:stop],
        )

    def padded(self, rows: Indices, pad_token_id: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return (input_ids, attention_mask, features) of rows, in the order given."""
        ends, lengths = self._ends[rows], self.lengths[rows]
        tokens = [
            self.token_ids[end - length : end].tolist()
            for end, length in zip(ends, lengths, strict=True)
        ]
        input_ids, attention_mask = pad(tokens, pad_token_id)
        return (
            torch.from_numpy(input_ids),
            torch.from_numpy(attention_mask),
            torch.from_numpy(self.features[rows]),
        )

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        """Where the tokens of each text end, [rows]."""
        return np.cumsum(self.lengths)

    @property
    def sha256(self) -> str:
        """The SHA-256 of all that is learned from."""
        digest = hashlib.sha256()
        for field in fields(self):
            array = getattr(self, field.name)
            digest.update(f"{field.name}{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def tokenise(rows: Rows, tokenizer: TextTokenizer, max_length: int) -> Examples:
    """Return rows as examples, texts cut to ``max_length`` tokens."""
    tokens = tokenizer.encode(rows.texts.tolist(), max_length)
    return Examples(
        token_ids=np.array([i for ids in tokens for i in ids], dtype=np.int64),
        lengths=np.array([len(ids) for ids in tokens], dtype=np.int64),
        labels=rows.labels.astype(np.int64),
        features=rows.features,
    )


def hold_back(
    examples: Examples, training: Training, labels: list[str]
) -> tuple[Examples, Examples]:
    """Return (to learn from, to validate on): the newest rows are held back.

    Raises:
        StateError: no row of some label is left to learn from, or none to ask patience about.
    """
    held = round(len(examples) * training.validation_share)
    if training.patience is not None and held == 0:
        raise StateError(
            "rows to validate on",
            expected="one at least, since training.patience is given",
            found=f"a share of {training.validation_share} of {len(examples)} rows",
            remedy="Load more labelled mentions, or raise training.validation_share.",
        )
    learn = examples.part(0, len(examples) - held)
    absent = [label for i, label in enumerate(labels) if not np.any(learn.labels == i)]
    if absent:
        raise StateError(
            "rows to learn from",
            expected=f"every label among the {len(learn)} that are not held back to validate",
            found=f"no row labelled {', '.join(absent)}",
            remedy="Load more labelled mentions, or lower training.validation_share.",
        )
    return learn, examples.part(len(examples) - held, len(examples))


class Order:
    """Which rows are in which batch: a function of seed, lengths and step, and so no state."""

    def __init__(self, lengths: npt.NDArray[np.int64], training: Training) -> None:
        """Plan all epochs.

        Args:
            lengths: [rows], tokens of each text.
            training: gives batch size, epochs and seed.
        """
        self._lengths = lengths
        self._training = training
        self.steps_an_epoch = -(-len(lengths) // training.batch_size)
        self.steps = self.steps_an_epoch * training.epochs
        self._epoch = lru_cache(maxsize=1)(self._shuffled)

    def batch(self, step: int) -> Indices:
        """Return the rows of the global batch of a step, counted from 0; of like length."""
        epoch, place = divmod(step, self.steps_an_epoch)
        return self._epoch(epoch)[place]

    def _shuffled(self, epoch: int) -> list[Indices]:
        random = np.random.default_rng([self._training.seed, epoch])
        return shuffled_batches(self._lengths, self._training.batch_size, random)
