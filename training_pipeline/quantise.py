"""Quantisation: the exported file with its weights in eight bits."""

from __future__ import annotations

import logging
from pathlib import Path

BLOCK = 32
"""Neighbouring weights of a channel that share a scale and a zero point; see docs/adr/0019."""
_EIGHT_BIT_ACTIVATIONS = 4
"""The operator's ``accuracy_level`` for products of integers."""


def quantise(exact: Path, small: Path) -> Path:
    """Write the int8 variant of an exported file; return its path.

    Products with a weight become ``MatMulNBits`` (com.microsoft): each block of a weight has a
    scale of its own, and so has, when the file runs, each block of a token's activations.

    Args:
        exact: the file in full precision.
        small: where the variant goes.
    """
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(
        onnx.load(exact),
        bits=8,
        block_size=BLOCK,
        is_symmetric=False,
        accuracy_level=_EIGHT_BIT_ACTIVATIONS,
    )
    chatty = logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer")
    level = chatty.level
    chatty.setLevel(logging.WARNING)  # it tells of each node
    try:
        quantizer.process()
    finally:
        chatty.setLevel(level)
    onnx.save(quantizer.model.model, small)
    return small
