"""A server for the tests of the protocol: its registry and its features in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from inference_pipeline.bootstrap import assemble
from inference_pipeline.features.reader import InMemoryFeatureReader
from inference_pipeline.settings import InferenceSettings
from inference_pipeline.versions.registry import InMemoryRegistry
from shared.feature_store import FeatureService
from shared.manifest import CHAMPION
from tests.inference.conftest import ready, running
from tests.inference.registry_files import MODEL
from tests.inference.tiny_model import TinyModel

MAX_ROWS = 4


@contextmanager
def serving(home: Path, service: FeatureService, **changes: Any) -> Iterator[httpx.Client]:
    """Serve two tiny versions, the first as champion, and give a plain client of them.

    Args:
        home: of the server.
        service: what the versions read.
        **changes: of the server's settings.
    """
    registry = InMemoryRegistry()
    first, _ = (
        registry.register(MODEL, TinyModel(bias=bias).write(home / f"made-{bias}", service))
        for bias in (0.0, 1.0)
    )
    registry.point(CHAMPION, first)
    settings = InferenceSettings(
        home=home,
        inference_model=MODEL,
        inference_max_batch=MAX_ROWS,
        inference_poll_seconds=0.02,
        inference_threads=2,
        **changes,
    )
    app = assemble(settings, registry=registry, reader=InMemoryFeatureReader(service))
    with running(app) as client:
        ready(client, "1")
        yield client
