"""Dropout whose masks depend on the row, not on who computes it.

A mask is a hash of (seed, step, place in the network, row of the global batch, element). So a row
loses the same elements whether its batch is computed at once, in parts, or by several processes,
and whether training was interrupted before: nothing is drawn from a generator's state. Padding a
text further does not move its mask either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from shared.errors import StateError

# SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
_GAMMA, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_SHIFTS = (30, 27, 31)
_WORD = 1 << 64
_LANES = 4
"""Elements that share a hash: each takes 16 of its bits, so shares are multiples of 1 / 65536."""
_LEVELS = 1 << 16
_COORDINATE_BITS = 20
"""Room for each coordinate of an element inside its row."""


class RowDropout(TorchFunctionMode):
    """Replaces dropout, that of attention included, while the context lasts.

    It takes the place of ``torch.nn.functional.dropout``, through which modules go as well, and of
    dropout inside ``scaled_dot_product_attention``; encoders need no change.
    """

    def __init__(self, rows: Tensor, *, seed: int, step: int) -> None:
        """Set what masks depend on.

        Args:
            rows: int64 [rows], the place of each row in the global batch. A tensor with another
                first dimension than this is taken as one that all rows share.
            seed: of the run.
            step: number of the step.
        """
        super().__init__()
        self._rows = rows
        self._key = mix(mix(seed) ^ step)
        self._place = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Take over dropout and attention; leave all else alone."""
        kwargs = kwargs or {}
        if func is nn.functional.dropout:
            return self._dropout(*args, **kwargs)
        if func is nn.functional.scaled_dot_product_attention and kwargs.get("dropout_p", 0.0) > 0:
            return self._attention(*args, **kwargs)
        return func(*args, **kwargs)

    def _dropout(
        self,
        values: Tensor,
        p: float = 0.5,
        training: bool = True,  # noqa: FBT001, FBT002 - torch's
        inplace: bool = False,  # noqa: ARG002, FBT001, FBT002 - torch's; the result is the same
    ) -> Tensor:
        if not training or p == 0:
            return values
        self._place += 1
        dropped = round(p * _LEVELS)
        kept = self._bits(values.shape) >= dropped - _LEVELS // 2
        return values * (kept.to(values.dtype) * (_LEVELS / max(1, _LEVELS - dropped)))

    def _attention(  # noqa: PLR0917 - torch's
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,  # noqa: FBT001, FBT002 - torch's
        scale: float | None = None,
        enable_gqa: bool = False,  # noqa: FBT001, FBT002 - torch's
    ) -> Tensor:
        """Return attention [rows, heads, queries, size], weights dropped by row."""
        if is_causal or enable_gqa:
            raise StateError(
                "base encoder, attention",
                expected="dropout of weights only where each token sees all tokens",
                found="causal attention or grouped queries",
                remedy="Set the dropout of attention to 0 in the base's config.json.",
            )
        # scores: rows, heads, queries, keys
        scores = query @ key.transpose(-2, -1) * (scale or 1 / math.sqrt(query.shape[-1]))
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        elif attn_mask is not None:
            scores = scores + attn_mask
        return self._dropout(scores.softmax(dim=-1).to(value.dtype), dropout_p) @ value

    def _bits(self, shape: torch.Size) -> Tensor:
        """Return int16 of this shape, uniform over all values."""
        key = mix(self._key ^ self._place)
        device = self._rows.device
        by_row = shape[0] == len(self._rows)
        rows = self._rows if by_row else torch.arange(shape[0], device=device)
        counters = mix_all(rows + _signed(key))  # [rows], far from each other
        for axis, size in enumerate(shape[1:], start=1):
            last = axis == len(shape) - 1
            places = torch.arange(-(-size // _LANES) if last else size, device=device)
            shift = _COORDINATE_BITS * (len(shape) - 1 - axis)
            counters = counters.unsqueeze(-1) + (places << shift)
        if len(shape) == 1:
            counters = counters.unsqueeze(-1)
        lanes = mix_all(counters).view(torch.int16)
        return lanes[..., : shape[-1] if len(shape) > 1 else 1].reshape(shape)


def mix(number: int) -> int:
    """Return the hash of a number, both below 2**64: SplitMix64's step."""
    word = (number + _GAMMA) % _WORD
    word = ((word ^ (word >> _SHIFTS[0])) * _MIX_1) % _WORD
    word = ((word ^ (word >> _SHIFTS[1])) * _MIX_2) % _WORD
    return word ^ (word >> _SHIFTS[2])


def mix_all(numbers: Tensor) -> Tensor:
    """Return the hash of each number; int64 stands for 64 bits, as two's complement."""
    word = numbers + _signed(_GAMMA)
    for shift, factor in zip(_SHIFTS, (_MIX_1, _MIX_2, None), strict=True):
        # Shifts of int64 drag the sign along: the mask takes it away again.
        word ^= (word >> shift) & ((1 << (64 - shift)) - 1)
        if factor is not None:
            word *= _signed(factor)
    return word


def _signed(word: int) -> int:
    return word - _WORD if word >= _WORD // 2 else word
