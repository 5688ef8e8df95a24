"""Quantisation: the exported file with its weights in eight bits."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto

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
            nodes_to_exclude=feed_forward(model.graph),
        )
    finally:
        chatty.setLevel(level)
    return small


def feed_forward(graph: GraphProto) -> list[str]:
    """Return the names of products whose weight is not square.

    In an encoder these are the two of each feed-forward layer: attention's are square.
    """
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    weighted = [
        (str(node.name), shapes[name])
        for node in graph.node
        if node.op_type in QUANTISED
        for name in node.input
        if name in shapes
    ]
    return [name for name, shape in weighted if len(set(shape)) > 1]
