"""LitServe: a worker process for each core, each with a session of one thread.

Annotations are no strings here: LitServe reads them to tell what a request is.
"""

import os
import sys
from pathlib import Path
from typing import Any

import litserve  # type: ignore[import-not-found]  # installed only beside the peers

from benchmarks.serving.bare import BareModel


class Classifier(litserve.LitAPI):  # type: ignore[misc]  # installed only beside the peers
    """The model as LitServe wants it."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Load the model in a worker."""
        self.model = BareModel(
            Path(os.environ["BENCH_PACKAGE"]), os.environ["BENCH_FILE"], threads=1
        )

    def decode_request(self, request: dict[str, Any]) -> str:
        """Return the text."""
        return str(request["text"])

    def predict(self, x: str) -> tuple[str, dict[str, float]]:
        """Return label and probabilities."""
        return self.model.predict(x)

    def encode_response(self, output: tuple[str, dict[str, float]]) -> dict[str, Any]:
        """Return the answer."""
        return {"label": output[0], "probabilities": output[1]}


if __name__ == "__main__":
    server = litserve.LitServer(
        Classifier(),
        accelerator="cpu",
        workers_per_device=len(os.sched_getaffinity(0)),
        timeout=60,
    )
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
