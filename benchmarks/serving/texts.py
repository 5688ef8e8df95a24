"""The texts that are asked, by a seed: words of the tokenizer's own vocabulary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from tokenizers import Tokenizer

Kind = Literal["short", "mixed"]
KINDS: tuple[Kind, ...] = ("short", "mixed")

SUBJECTS = 50
SOURCES = 200

_SHORT_WORDS = (4, 16)
_MIXED_MEDIAN_WORDS = 20
_MIXED_SPREAD = 0.9
"""Standard deviation of the logarithm: one text in ten has more than three times the median."""
_WORDS = 120
_FILLED = 2
"""Of each three places, the one that tells nothing."""


@dataclass(frozen=True)
class Text:
    """A text with its place in the list of labels, and whom it is about and from."""

    text: str
    label: int
    subject_id: str
    source_id: str


def vocabulary(tokenizer: Tokenizer) -> list[str]:
    """Return some whole words of a tokenizer, in a fixed order: each is one token."""
    words = sorted(word for word in tokenizer.get_vocab() if word.isalpha() and word.isascii())
    return words[:: max(1, len(words) // _WORDS)]


def make_texts(
    kind: Kind, count: int, *, words: list[str], labels: int, most: int, seed: int
) -> list[Text]:
    """Return texts of a kind.

    Each label has a word of its own, and that stands in two places of three: no text is close to
    two labels, so that an answer with another label is a mistake rather than a near tie.

    Args:
        kind: short ones, or lengths as posts and articles have them: few are very long.
        count: how many.
        words: the first ones are those of the labels, the others fill the texts.
        labels: how many there are.
        most: words in a text at most.
        seed: the same one gives the same texts.
    """
    random = np.random.default_rng([seed, *kind.encode()])
    telling, filling = words[:labels], words[labels:]
    texts = []
    for length in _lengths(kind, count, most, random):
        label = int(random.integers(labels))
        chosen = [
            filling[random.integers(len(filling))] if place % 3 == _FILLED else telling[label]
            for place in range(length)
        ]
        texts.append(
            Text(
                text=" ".join(chosen),
                label=label,
                subject_id=f"subject-{random.integers(SUBJECTS)}",
                source_id=f"source-{random.integers(SOURCES)}",
            )
        )
    return texts


def _lengths(kind: Kind, count: int, most: int, random: Generator) -> list[int]:
    if kind == "short":
        low, high = _SHORT_WORDS
        drawn = random.integers(low, high + 1, count)
    else:
        drawn = np.rint(random.lognormal(math.log(_MIXED_MEDIAN_WORDS), _MIXED_SPREAD, count))
    return [int(length) for length in np.clip(drawn, 1, most)]
