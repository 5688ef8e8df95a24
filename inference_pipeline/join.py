"""The online join: features of a batch of mentions, in time or not at all, and how old they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

from inference_pipeline.features import Entity, FeatureReader, OnlineRows
from inference_pipeline.metrics import Metrics
from shared.feature_store import FeatureService
from shared.logs import get_logger

log = get_logger(__name__)

Status = Literal["present", "missing", "stale", "unavailable"]
Clock = Callable[[], datetime]

_SECONDS_BETWEEN_WARNINGS = 10.0
_WARM_UP_SECONDS = 10.0


@dataclass(frozen=True)
class ViewState:
    """What was known of one view for one mention."""

    status: Status
    age_seconds: float | None
    """How old the row is; None without a row."""


@dataclass(frozen=True)
class Joined:
    """The features of B mentions."""

    features: npt.NDArray[np.float32]
    """float32 [B, features] in the order of the service, NaN where missing, stale, unavailable."""
    views: list[dict[str, ViewState]]
    """Per mention, by view."""
    degraded: bool
    """Whether the store failed to answer."""


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


class FeatureJoin:
    """Joins features to mentions. A store that is slow or down costs features, not the answer."""

    def __init__(
        self,
        reader: FeatureReader,
        *,
        timeout: timedelta,
        metrics: Metrics,
        clock: Clock = utc_now,
    ) -> None:
        self._reader = reader
        self._timeout = timeout
        self._metrics = metrics
        self._clock = clock
        # One thread, because reads must not overlap: see FeastFeatureReader.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="features")
        self._warned_at = -_SECONDS_BETWEEN_WARNINGS

    def warm_up(self, service: FeatureService) -> None:
        """Read once, so that the store connects and resolves the service before a request does.

        A store that is down is no reason to wait: it is logged and serving goes on without it.
        """
        if not service.features:
            return
        nobody = dict.fromkeys(service.join_keys.values(), "warm-up")
        try:
            self._thread.submit(self._reader.read, service, [nobody]).result(_WARM_UP_SECONDS)
        except Exception as error:  # noqa: BLE001 - stores raise what their clients raise
            self._note_failure(error)

    async def join(self, service: FeatureService, entities: Sequence[Entity]) -> Joined:
        """Return the features of B mentions; it takes little longer than the timeout at most."""
        if not service.features:
            return Joined(
                features=np.empty((len(entities), 0), dtype=np.float32),
                views=[{} for _ in entities],
                degraded=False,
            )
        read = self._thread.submit(self._reader.read, service, entities)
        try:
            # On a timeout the read is cancelled too, if it did not start: a store that hangs
            # does not gather a queue.
            rows = await asyncio.wait_for(asyncio.wrap_future(read), self._timeout.total_seconds())
        except Exception as error:  # noqa: BLE001 - stores raise what their clients raise
            self._note_failure(error)
            return _without_features(service, len(entities))
        return _at(self._clock(), service, rows)

    def close(self) -> None:
        """End the reading thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _note_failure(self, error: Exception) -> None:
        kind = "timeout" if isinstance(error, TimeoutError) else "error"
        self._metrics.feature_read_failures.labels(kind).inc()
        now = time.monotonic()
        if now - self._warned_at >= _SECONDS_BETWEEN_WARNINGS:
            self._warned_at = now
            log.warning("features_unavailable", kind=kind, error=repr(error)[:500])


def _without_features(service: FeatureService, count: int) -> Joined:
    unavailable = ViewState(status="unavailable", age_seconds=None)
    return Joined(
        features=np.full((count, len(service.features)), np.nan, dtype=np.float32),
        views=[dict.fromkeys(service.ttl, unavailable) for _ in range(count)],
        degraded=True,
    )


def _at(now: datetime, service: FeatureService, rows: OnlineRows) -> Joined:
    """Tell present from missing and stale, and blank what the training join would not have seen."""
    views = [
        {
            view: _state(now, times[mention], service.ttl[view])
            for view, times in rows.known_at.items()
        }
        for mention in range(len(rows.values))
    ]
    features = rows.values.copy()
    for mention, states in enumerate(views):
        for column, feature in enumerate(service.features):
            if states[feature.view].status != "present":
                features[mention, column] = np.nan
    return Joined(features=features, views=views, degraded=False)


def _state(now: datetime, known_at: datetime | None, ttl: timedelta) -> ViewState:
    if known_at is None:
        return ViewState(status="missing", age_seconds=None)
    # Clocks of two machines differ a little: a row from the future is new, not negative.
    age = max(now - known_at, timedelta(0))
    stale = timedelta(0) < ttl < age
    return ViewState("stale" if stale else "present", age.total_seconds())
