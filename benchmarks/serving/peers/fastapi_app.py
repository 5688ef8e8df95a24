"""FastAPI and onnxruntime as people write it: one session, a plain function as the endpoint.

``BENCH_THREADS`` are those of a forward pass: one where a worker runs for each core.
"""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.serving.bare import BareModel


class Item(BaseModel):
    """What is asked."""

    text: str


class Answer(BaseModel):
    """What comes back."""

    label: str
    probabilities: dict[str, float]


def create_app() -> FastAPI:
    """Return the application, for ``uvicorn --factory``."""
    model = BareModel(
        Path(os.environ["BENCH_PACKAGE"]),
        os.environ["BENCH_FILE"],
        threads=int(os.environ["BENCH_THREADS"]),
    )
    app = FastAPI()

    @app.post("/predict")
    def predict(item: Item) -> Answer:
        label, probabilities = model.predict(item.text)
        return Answer(label=label, probabilities=probabilities)

    return app
