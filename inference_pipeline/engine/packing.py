"""Which of the waiting rows form the next batch. Pure: no clock, no lock, no model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Protocol

WINDOW = 256
"""Rows looked at for one batch, the most urgent first: bounds the cost of packing a long queue."""

MAX_PADDING = 0.15
"""Share of a batch that may be padding. On a CPU a padded token costs as much as a real one."""


class Packable(Protocol):
    """A row that waits."""

    @property
    def tokens(self) -> int:
        """Its length, at least 1."""

    @property
    def model(self) -> object:
        """What will run it: rows of two models never share a batch."""


def next_batch(
    waiting: Sequence[Packable], *, token_budget: int, max_padding: float = MAX_PADDING
) -> list[int]:
    """Return the positions of the rows to run now, ascending.

    The most urgent row always runs. Rows of nearly its length join it, the nearest first, as long
    as the batch padded to its longest row keeps within the budget and wastes little on padding.

    >>> from collections import namedtuple
    >>> Row = namedtuple("Row", "tokens model")
    >>> next_batch([Row(10, "a"), Row(90, "a"), Row(11, "a"), Row(10, "b")], token_budget=64)
    [0, 2]

    Args:
        waiting: the rows, the one with the earliest deadline first.
        token_budget: tokens of a batch, padding included. A row longer than it runs alone.
        max_padding: share of the padded batch that may be padding, below 1.
    """
    if not waiting:
        return []
    first = waiting[0]
    # Sorting is stable: of two rows equally near, the more urgent comes first.
    nearest = sorted(
        (
            position
            for position, row in islice(enumerate(waiting), 1, WINDOW)
            if row.model is first.model
        ),
        key=lambda position: abs(waiting[position].tokens - first.tokens),
    )
    chosen, longest, total = [0], first.tokens, first.tokens
    for position in nearest:
        tokens = waiting[position].tokens
        padded = max(longest, tokens) * (len(chosen) + 1)
        if padded > token_budget or padded - total - tokens > max_padding * padded:
            # What follows is no nearer in length; shorter rows may still fit behind a longer one.
            continue
        chosen.append(position)
        longest, total = max(longest, tokens), total + tokens
    return sorted(chosen)
