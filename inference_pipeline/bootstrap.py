"""The composition root: the only place that names concrete adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fastapi import FastAPI

from inference_pipeline.api.app import create_app
from inference_pipeline.api.models import model_routes
from inference_pipeline.api.operations import operations_routes
from inference_pipeline.api.predict import prediction_routes
from inference_pipeline.engine.engine import Capacity, Engine
from inference_pipeline.engine.prediction_log import NoPredictionLog, PredictionLog
from inference_pipeline.features.feast_reader import FeastFeatureReader
from inference_pipeline.features.join import FeatureJoin, Join, NoJoin
from inference_pipeline.features.reader import FeatureReader
from inference_pipeline.features.redis_tables import RedisTables
from inference_pipeline.features.sqlite_tables import SqliteTables
from inference_pipeline.http.access import SCOPES
from inference_pipeline.metrics import Metrics
from inference_pipeline.oip.routes import oip_routes
from inference_pipeline.oip.target import Limits
from inference_pipeline.prediction_log.limits import LogLimits
from inference_pipeline.prediction_log.log import BufferedPredictionLog, LogMetrics
from inference_pipeline.prediction_log.table import DeltaPredictionTable, PredictionTable
from inference_pipeline.settings import InferenceSettings
from inference_pipeline.versions.local_versions import LocalVersions
from inference_pipeline.versions.registry import MlflowRegistry, ModelRegistry
from inference_pipeline.versions.surroundings import Surroundings
from inference_pipeline.versions.variants import ParityBounds
from inference_pipeline.versions.versions import Versions
from shared.feature_store import FeatureService, open_feature_store
from shared.garbage import spare_what_stays
from shared.listening import check_host
from shared.model_registry import tracking_uri
from shared.places import Places, sqlite_path
from shared.predictions import PREDICTION_LOG
from shared.redis_address import redis_client
from shared.tokens import TokenBook, read_tokens

if TYPE_CHECKING:
    from feast import FeatureStore

    from inference_pipeline.traces import Traces


def build_app(settings: InferenceSettings) -> FastAPI:
    """Return the application on the feature store and the model registry."""
    check_host(
        settings.inference_host,
        setting="FTI_INFERENCE_HOST",
        guarded=settings.inference_tokens_file is not None or settings.inference_open,
        open_setting="FTI_INFERENCE_TOKENS_FILE, or FTI_INFERENCE_OPEN=true if a proxy guards it",
    )
    store = open_feature_store(settings.places)
    return assemble(
        settings,
        registry=MlflowRegistry(tracking_uri(settings.places)),
        reader=feature_reader(store, settings.places),
        predictions=DeltaPredictionTable(store, PREDICTION_LOG),
    )


def feature_reader(store: FeatureStore, places: Places) -> FeatureReader:
    """Return the reader of a feature store's online features."""
    path = sqlite_path(places.online_store)
    if path is not None:
        return FeastFeatureReader(store, SqliteTables(path, store.project))
    client = redis_client(places.online_store)
    return FeastFeatureReader(store, RedisTables(client, store.project))


def assemble(
    settings: InferenceSettings,
    *,
    registry: ModelRegistry,
    reader: FeatureReader,
    predictions: PredictionTable | None = None,
) -> FastAPI:
    """Return the application on a model registry and a feature store.

    Args:
        settings: of the server.
        registry: where versions come from.
        reader: where features come from.
        predictions: where answers are logged; None: nowhere.
    """
    metrics = Metrics()
    tokens = _tokens(settings)
    traces = _traces(settings)
    log = _prediction_log(settings, predictions, metrics)
    core = build_core(settings, registry=registry, reader=reader, metrics=metrics, log=log)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # Left in reverse order, whatever fails: first what predicts, last what tells of it.
        async with AsyncExitStack() as opened:
            if traces is not None:
                opened.push_async_callback(asyncio.to_thread, traces.close)
            if log is not None:
                await asyncio.to_thread(log.start)
                opened.push_async_callback(asyncio.to_thread, log.close)
            opened.push_async_callback(core.close)
            core.versions.start()
            yield

    limits = Limits(rows=settings.inference_max_batch, body_bytes=settings.inference_max_body_bytes)
    return create_app(
        prediction_routes(core.engine, max_batch=settings.inference_max_batch),
        model_routes(core.versions),
        oip_routes(core.engine, core.versions, metrics.engine, limits),
        operations_routes(core.versions, metrics),
        lifespan=lifespan,
        metrics=metrics,
        max_body_bytes=settings.inference_max_body_bytes,
        check_capacity=core.engine.check_capacity,
        tokens=tokens,
        traces=None if traces is None else traces.provider,
    )


def _prediction_log(
    settings: InferenceSettings, table: PredictionTable | None, metrics: Metrics
) -> BufferedPredictionLog | None:
    if table is None or settings.inference_prediction_log == "off":
        return None
    return BufferedPredictionLog(
        table,
        spool=settings.home / "inference" / "prediction_log",
        metrics=LogMetrics(metrics.collectors),
        texts=settings.inference_prediction_log == "full",
        limits=LogLimits(
            buffer_rows=settings.inference_log_buffer_rows,
            spool_rows=settings.inference_log_spool_rows,
            spool_interval=timedelta(seconds=settings.inference_log_spool_seconds),
            commit_interval=timedelta(seconds=settings.inference_log_commit_seconds),
            commit_rows=settings.inference_log_commit_rows,
        ),
    )


def _tokens(settings: InferenceSettings) -> TokenBook | None:
    if settings.inference_tokens_file is None:
        return None
    return read_tokens(
        settings.inference_tokens_file, scopes=SCOPES, setting="FTI_INFERENCE_TOKENS_FILE"
    )


def _traces(settings: InferenceSettings) -> Traces | None:
    if not settings.inference_traces:
        return None
    # The SDK and its exporter take a while to import: servers without traces do without them.
    from inference_pipeline.traces import Traces

    return Traces(settings.inference_traces)


@dataclass(frozen=True)
class Core:
    """What predicts, whoever asks: the server or scoring."""

    engine: Engine
    versions: Versions
    join: Join

    async def close(self) -> None:
        """Stop to follow the aliases and end all threads; versions are closed last."""
        await asyncio.to_thread(self.versions.stop)
        await self.engine.close()
        await asyncio.to_thread(self.join.close)
        await asyncio.to_thread(self.versions.close)


def _join(settings: InferenceSettings, reader: FeatureReader, metrics: Metrics) -> Join:
    if settings.inference_features == "off":
        return NoJoin()
    return FeatureJoin(
        reader,
        timeout=timedelta(seconds=settings.inference_feature_timeout_seconds),
        metrics=metrics.features,
    )


def build_core(
    settings: InferenceSettings,
    *,
    registry: ModelRegistry,
    reader: FeatureReader,
    metrics: Metrics,
    log: PredictionLog | None = None,
) -> Core:
    """Return an engine on a model registry and a feature store; it follows no alias yet."""
    join = _join(settings, reader, metrics)

    def warm_up(service: FeatureService) -> None:
        join.warm_up(service)
        # What stays is there by now, for the most part: the stores' clients and the first model.
        spare_what_stays()

    versions = Versions(
        settings.inference_models,
        Surroundings(
            registry=registry,
            files=LocalVersions(registry, settings.home / "inference" / "models"),
            reader=reader,
            warm_up=warm_up,
            bounds=ParityBounds(
                min_label_agreement=settings.inference_min_label_agreement,
                max_logit_difference=settings.inference_max_logit_difference,
            ),
            metrics=metrics.versions,
            lone_pass_threads=settings.lone_pass_threads,
        ),
        poll=timedelta(seconds=settings.inference_poll_seconds),
    )
    engine = Engine(
        versions,
        join,
        capacity=Capacity(
            threads=settings.inference_threads,
            token_budget=settings.inference_token_budget,
            timeout=timedelta(seconds=settings.inference_timeout_seconds),
            shadow_requests=settings.inference_shadow_requests,
        ),
        metrics=metrics.engine,
        log=log or NoPredictionLog(),
    )
    return Core(engine, versions, join)
