"""BentoML: a worker process for each core, each with a session of one thread."""

import os
from pathlib import Path
from typing import Any

import bentoml  # type: ignore[import-not-found]  # installed only beside the peers

from benchmarks.serving.bare import BareModel


@bentoml.service(workers=len(os.sched_getaffinity(0)), traffic={"timeout": 60})
class Classifier:
    """The model as BentoML wants it."""

    def __init__(self) -> None:
        self.model = BareModel(
            Path(os.environ["BENCH_PACKAGE"]), os.environ["BENCH_FILE"], threads=1
        )

    @bentoml.api  # type: ignore[untyped-decorator]  # installed only beside the peers
    def predict(self, text: str) -> dict[str, Any]:
        """Return label and probabilities."""
        label, probabilities = self.model.predict(text)
        return {"label": label, "probabilities": probabilities}
