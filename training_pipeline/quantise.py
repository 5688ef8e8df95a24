"""Quantisation: the exported file with its weights in eight bits."""

from __future__ import annotations

import logging
from pathlib import Path

QUANTISED = ("MatMul",)
"""Kinds of nodes whose weights go into eight bits; see docs/adr/0019."""


def quantise(exact: Path, small: Path) -> Path:
    """Write the int8 variant of an exported file; return its path.

    Each output channel of a weight gets a scale of its own; activations get theirs when the file
    runs.

    Args:
        exact: the file in full precision.
        small: where the variant goes.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(exact)
    # The exporter's shapes are stale where it fused nodes, and the quantiser trusts them.
    del model.graph.value_info[:]
    chatty = logging.getLogger()
    level = chatty.level
    chatty.setLevel(logging.ERROR)  # it recommends a preparation that fails on this graph
    try:
        quantize_dynamic(
            model,
            small,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=list(QUANTISED),
        )
    finally:
        chatty.setLevel(level)
    return small
