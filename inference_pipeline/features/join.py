"""The online join: features of mentions, in time or not at all, and how old they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from inference_pipeline.features.breaker import Breaker
from inference_pipeline.features.coalescing import CoalescedReads
from inference_pipeline.features.metrics import FeatureMetrics
from inference_pipeline.features.reader import Entity, FeatureReader, OnlineRows
from shared.feature_store import FeatureService

Status = Literal["present", "missing", "stale", "unavailable"]
Clock = Callable[[], datetime]

_WARM_UP = timedelta(seconds=10)
_FAILURES_TO_OPEN = 5
_OPEN_FOR = timedelta(seconds=5)


@dataclass(frozen=True)
class ViewState:
    """What was known of one view for one mention."""

    status: Status
    age_seconds: float | None
    """How old the row is; None without a row."""


_MISSING = ViewState(status="missing", age_seconds=None)
_UNAVAILABLE = ViewState(status="unavailable", age_seconds=None)


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


class Join(Protocol):
    """What the engine asks for features."""

    async def join(
        self,
        service: FeatureService,
        entities: Sequence[Entity],
        *,
        within: timedelta | None = None,
    ) -> Joined:
        """Return the features of B mentions.

        Args:
            service: what to read.
            entities: of whom, one for each mention.
            within: wait no longer than this.
        """

    def warm_up(self, service: FeatureService) -> None:
        """Get ready to join the features of a service. Not for the loop."""

    def close(self) -> None:
        """End what reads."""


class NoJoin:
    """Reads nothing: the store is to be left alone."""

    async def join(
        self,
        service: FeatureService,
        entities: Sequence[Entity],
        *,
        within: timedelta | None = None,  # noqa: ARG002 - the port's signature
    ) -> Joined:
        """Return what is known without the store."""
        return without_features(service, len(entities))

    def warm_up(self, service: FeatureService) -> None:
        """See `Join`."""

    def close(self) -> None:
        """See `Join`."""


class FeatureJoin:
    """Joins features to mentions. A store that is slow or down costs features, not the answer."""

    def __init__(
        self,
        reader: FeatureReader,
        *,
        timeout: timedelta,
        metrics: FeatureMetrics,
        clock: Clock = utc_now,
        breaker: Breaker | None = None,
    ) -> None:
        self._timeout = timeout
        self._clock = clock
        self._reads = CoalescedReads(
            reader,
            timeout=timeout,
            metrics=metrics,
            breaker=breaker
            or Breaker(failures=_FAILURES_TO_OPEN, open_for=_OPEN_FOR, clock=time.monotonic),
        )

    def warm_up(self, service: FeatureService) -> None:
        """Read once, so that the store connects before a request asks it to. Not for the loop.

        A store that is down is no reason to wait: it is logged and serving goes on without it.
        """
        if service.features:
            nobody = dict.fromkeys(service.join_keys.values(), "warm-up")
            self._reads.try_once(service, [nobody], _WARM_UP)

    async def join(
        self,
        service: FeatureService,
        entities: Sequence[Entity],
        *,
        within: timedelta | None = None,
    ) -> Joined:
        """See `Join`; it waits no longer than the timeout of the join either."""
        if not service.features:
            return Joined(
                features=np.empty((len(entities), 0), dtype=np.float32),
                views=[{} for _ in entities],
                degraded=False,
            )
        patience = self._timeout if within is None else min(within, self._timeout)
        rows = await self._reads.read(service, entities, patience)
        if rows is None:
            return without_features(service, len(entities))
        return _at(self._clock(), service, rows)

    def close(self) -> None:
        """End the reading thread."""
        self._reads.close()


def without_features(service: FeatureService, count: int) -> Joined:
    """Return what is known of B mentions when the store does not answer."""
    return Joined(
        features=np.full((count, len(service.features)), np.nan, dtype=np.float32),
        views=[dict.fromkeys(service.ttl, _UNAVAILABLE) for _ in range(count)],
        degraded=bool(service.features),
    )


def _at(now: datetime, service: FeatureService, rows: OnlineRows) -> Joined:
    """Tell present from missing and stale, and blank what the training join would not have seen."""
    features = rows.values
    views: list[dict[str, ViewState]] = []
    for mention in range(len(features)):
        states = {
            view: _state(now, times[mention], service.ttl[view])
            for view, times in rows.known_at.items()
        }
        for column, feature in enumerate(service.features):
            if states[feature.view].status == "stale":
                features[mention, column] = np.nan
        views.append(states)
    return Joined(features=features, views=views, degraded=False)


def _state(now: datetime, known_at: datetime | None, ttl: timedelta) -> ViewState:
    if known_at is None:
        return _MISSING
    # Clocks of two machines differ a little: a row from the future is new, not negative.
    age = max(now - known_at, timedelta(0))
    stale = timedelta(0) < ttl < age
    return ViewState("stale" if stale else "present", age.total_seconds())
