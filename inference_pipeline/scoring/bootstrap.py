"""The composition root of scoring: the engine of the server without the server around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from inference_pipeline.bootstrap import build_core, feature_reader
from inference_pipeline.engine.answer import Ask
from inference_pipeline.engine.engine import Engine
from inference_pipeline.metrics import Metrics
from inference_pipeline.prediction_log.table import DeltaPredictionTable
from inference_pipeline.scoring.mention_tail import DeltaMentionSource
from inference_pipeline.scoring.stream import StreamScorer
from inference_pipeline.settings import InferenceSettings
from inference_pipeline.versions.registry import MlflowRegistry
from inference_pipeline.versions.state import ModelState
from inference_pipeline.versions.versions import NoVersionError, Versions
from shared.feature_store import open_feature_store
from shared.model_registry import tracking_uri
from shared.predictions import MENTION_PREDICTION

_FEATURE_PATIENCE_SECONDS = 30.0
"""Nobody waits for the answer, and a batch reads the features of many: rather late than without."""
_BATCH_ROWS = 500
"""Mentions of the stream that are scored and written at a time."""


@dataclass(frozen=True)
class Opened:
    """The engine and what it runs on, open until the context ends."""

    engine: Engine
    versions: Versions
    """Not followed yet: `start` follows the aliases, `load` takes a version once."""
    source: DeltaMentionSource
    table: DeltaPredictionTable


@asynccontextmanager
async def opened(settings: InferenceSettings, *, timeout: timedelta) -> AsyncIterator[Opened]:
    """Open the feature store and the model registry, and an engine on them.

    Args:
        settings: as of the server; admission, which protects the server's clients, does not apply.
        timeout: how long the engine may take for what it is asked.
    """
    store = await asyncio.to_thread(open_feature_store, settings.places)
    core = build_core(
        settings.model_copy(
            update={
                "inference_timeout_seconds": timeout.total_seconds(),
                "inference_feature_timeout_seconds": _FEATURE_PATIENCE_SECONDS,
            }
        ),
        registry=MlflowRegistry(tracking_uri(settings.places)),
        reader=feature_reader(store, settings.places),
        metrics=Metrics(),
    )
    try:
        yield Opened(
            core.engine,
            core.versions,
            DeltaMentionSource(store),
            DeltaPredictionTable(store, MENTION_PREDICTION),
        )
    finally:
        await core.close()


def stream_scorer(settings: InferenceSettings, at: Opened) -> StreamScorer:
    """Return what scores mentions as they land, with the champion of the moment."""
    model = settings.inference_models[0]
    return StreamScorer(
        at.source,
        at.table,
        at.engine,
        model=model,
        ask=lambda: Ask(model=model, version=champion(at.versions.state(model))),
        batch_rows=_BATCH_ROWS,
        poll=timedelta(seconds=settings.inference_poll_seconds),
    )


def champion(state: ModelState) -> str:
    """Return the number of the champion: scoring has no share of a challenger.

    Raises:
        NoVersionError: none is in service.
    """
    if state.champion is None:
        raise NoVersionError(
            f"model {state.name}", expected="a champion in service", found="none so far"
        )
    return state.champion.version.version


def variant(state: ModelState, version: str) -> str:
    """Return which variant of a version serves here: timing decides it when it is loaded."""
    return next(s.model.variant for s in state.served if s.version.version == version)
