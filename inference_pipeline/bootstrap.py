"""The composition root: the only place that names concrete adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

from inference_pipeline.api.app import create_app
from inference_pipeline.api.routes import operations_routes, prediction_routes
from inference_pipeline.engine import Engine
from inference_pipeline.features import FeastFeatureReader, FeatureReader
from inference_pipeline.join import FeatureJoin
from inference_pipeline.metrics import Metrics
from inference_pipeline.registry import MlflowRegistry, ModelRegistry
from inference_pipeline.settings import InferenceSettings
from inference_pipeline.watcher import ChampionWatcher
from shared.feature_store import open_feature_store
from shared.model_registry import tracking_uri


def build_app(settings: InferenceSettings) -> FastAPI:
    """Return the application on the embedded feature store and model registry under FTI_HOME."""
    registry = MlflowRegistry(
        tracking_uri(settings.home), cache=settings.home / "inference" / "models"
    )
    reader = FeastFeatureReader(open_feature_store(settings.home))
    return assemble(settings, registry=registry, reader=reader)


def assemble(
    settings: InferenceSettings, *, registry: ModelRegistry, reader: FeatureReader
) -> FastAPI:
    """Return the application on a model registry and a feature store."""
    metrics = Metrics()
    join = FeatureJoin(
        reader,
        timeout=timedelta(seconds=settings.inference_feature_timeout_seconds),
        metrics=metrics,
    )
    watcher = ChampionWatcher(
        settings.inference_model,
        registry=registry,
        reader=reader,
        join=join,
        metrics=metrics,
        poll=timedelta(seconds=settings.inference_poll_seconds),
    )
    engine = Engine(watcher, join, threads=settings.inference_threads, metrics=metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watcher.start()
        try:
            yield
        finally:
            # The server has drained: nothing asks the engine any more.
            await asyncio.to_thread(watcher.stop)
            await asyncio.to_thread(engine.close)
            await asyncio.to_thread(join.close)

    return create_app(
        prediction_routes(engine, watcher, max_batch=settings.inference_max_batch),
        operations_routes(watcher, metrics),
        lifespan=lifespan,
        metrics=metrics,
        max_body_bytes=settings.inference_max_body_bytes,
    )
