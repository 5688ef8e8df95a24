"""``python -m training_pipeline.service.spare``: a child that waits for its order.

It imports at once what takes seconds to import, then reads one line of JSON, which says what to
train. Not for people: the worker starts it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from shared.ending import leave
from training_pipeline.cli import main
from training_pipeline.service.work.child import WARM

_SLOW = (
    "feast",
    "mlflow",
    "onnxruntime",
    "sklearn.linear_model",
    "torch.onnx",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "shared.feature_store",
    "training_pipeline.dataset",
    "training_pipeline.pipeline",
    "training_pipeline.registry",
)


def wait_and_train() -> int:
    """Do as the first line of the standard input says; return the exit code of the training."""
    if WARM in sys.argv[1:]:
        for module in _SLOW:
            importlib.import_module(module)
    line = sys.stdin.readline()
    if not line:
        return 0
    order = json.loads(line)
    log = os.open(Path(order["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, sys.stderr.fileno())
    os.close(log)
    return main(order["arguments"])


if __name__ == "__main__":
    leave(wait_and_train())
