"""The service as on a slow processor: ``python -m tests.inference.slow_server serve …``.

Each row takes its time asleep, so that capacity is known and other work on the machine hardly
matters. Everything else is as it is served.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from unittest.mock import patch

from inference_pipeline.cli import main
from inference_pipeline.features.reader import Floats
from inference_pipeline.versions.model import Encoding, LoadedModel

SECONDS_PER_ROW = 0.04
_scores = LoadedModel.scores


def slow_scores(
    model: LoadedModel, encodings: Sequence[Encoding], features: Floats, *, alone: bool = False
) -> Floats:
    """Return the logits after a while."""
    time.sleep(SECONDS_PER_ROW * len(encodings))
    return _scores(model, encodings, features, alone=alone)


if __name__ == "__main__":
    with patch.object(LoadedModel, "scores", slow_scores):
        status = main()
    sys.exit(status)
