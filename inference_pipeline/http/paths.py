"""What a path asks for, told before anything is routed."""

from __future__ import annotations

import re

PROBES = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""What machines ask every few seconds, without a token."""

_PREDICT = "/v1/predict"
_PROTOCOL = "/v2"
_INFER = "/infer"
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


def speaks_protocol(path: str) -> bool:
    """Tell whether a path belongs to the Open Inference Protocol, whose errors have other fields.

    >>> speaks_protocol("/v2"), speaks_protocol("/v2/models/a"), speaks_protocol("/v2x")
    (True, True, False)
    """
    return path == _PROTOCOL or path.startswith(f"{_PROTOCOL}/")


def is_prediction(path: str) -> bool:
    """Tell whether a path asks for predictions.

    >>> is_prediction("/v1/predict"), is_prediction("/v2/models/a/infer")
    (True, True)
    >>> is_prediction("/v2/models/a/ready")
    False
    """
    return path == _PREDICT or (path.endswith(_INFER) and speaks_protocol(path))


def has_control_character(path: str) -> bool:
    r"""Tell whether a path holds a character that none of ours does, such as a line's end.

    >>> has_control_character("/v1/predict"), has_control_character("/v1/predict\n")
    (False, True)
    """
    return _CONTROL_CHARACTER.search(path) is not None
