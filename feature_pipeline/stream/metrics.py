"""Figures of the stream worker, and the marks by which one tells that it gets on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Literal

import polars as pl
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from feature_pipeline.eventlog.clock import Clock, utc_now
from shared.features import KNOWN_AT, MENTION_LABEL, MENTION_TEXT

Side = Literal["offline", "online"]
"""Of the feature store."""

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600)
_ENTRIES = (1, 10, 100, 1_000, 2_500, 5_000, 10_000, 50_000)
_SAMPLES = 100
"""Freshness is observed for as many rows of a write at most: a histogram takes them one by one."""


class StreamMetrics:
    """What the dataflow tells of itself. Called by its thread, read by that of the probe."""

    def __init__(
        self,
        clock: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._monotonic = monotonic
        self._started_at = monotonic()
        self._took_up_at: float | None = None
        self._turned_at: float | None = None
        self._saved_at: float | None = None
        self._watermarks: dict[int, datetime] = {}
        self._rows = Counter(
            "fti_features_rows_written_total",
            "Rows that were written, by feature view and side of the store",
            ["view", "store"],
            registry=self.registry,
        )
        self._writes = Histogram(
            "fti_features_write_seconds",
            "How long a write of a batch took, by side of the store",
            ["store"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._failures = Counter(
            "fti_features_write_failures_total",
            "Writes that failed, by side of the store",
            ["store"],
            registry=self.registry,
        )
        self._batches = Histogram(
            "fti_features_batch_entries",
            "Log entries that were read at a time",
            buckets=_ENTRIES,
            registry=self.registry,
        )
        self._freshness = Histogram(
            "fti_features_freshness_seconds",
            "From the moment at which a mention or label was known to that at which it counts"
            f" online; of up to {_SAMPLES} of each write",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._gauge("log_lag_seconds", "How far the online store is behind the present", self.lag)
        self._gauge("epoch_age_seconds", "Since the state was saved", self.since_saved)

    def took_up(self) -> None:
        """Take note that this process has a partition: of a cluster, some may have none."""
        if self._took_up_at is None:
            self._took_up_at = self._monotonic()

    def turned(self) -> None:
        """Take note that the dataflow asked the log for more."""
        self._turned_at = self._monotonic()

    def read(self, entries: int) -> None:
        """Count a batch that the log gave."""
        self._batches.observe(entries)

    def saved(self) -> None:
        """Take note that the state is being saved: the end of an epoch."""
        self._saved_at = self._monotonic()

    @contextmanager
    def writing(self, store: Side) -> Iterator[None]:
        """Time a write, or count its failure, which is raised on."""
        began = self._monotonic()
        try:
            yield
        except BaseException:
            self._failures.labels(store).inc()
            raise
        self._writes.labels(store).observe(self._monotonic() - began)

    def wrote(self, store: Side, view: str, rows: int) -> None:
        """Count the rows of a view that were written."""
        self._rows.labels(view, store).inc(rows)

    def readable(self, partition: int, tables: Mapping[str, pl.DataFrame], until: datetime) -> None:
        """Take note that online a partition's rows count up to a watermark."""
        self._watermarks[partition] = until
        now = self._clock()
        for view in (MENTION_TEXT, MENTION_LABEL):
            known = tables[view][KNOWN_AT]
            for moment in known.gather_every(len(known) // _SAMPLES + 1):
                self._freshness.observe(max(0.0, (now - moment).total_seconds()))

    def lag(self) -> float:
        """Return the seconds between the present and what the partition furthest behind shows.

        Before anything shows, it is the time since a partition was taken up; 0 if none was.
        """
        if not self._watermarks:
            return 0.0 if self._took_up_at is None else self._monotonic() - self._took_up_at
        return max(0.0, (self._clock() - min(self._watermarks.values())).total_seconds())

    def since_turned(self) -> float | None:
        """Return the seconds since the dataflow asked for more; None before it did so once."""
        return None if self._turned_at is None else self._monotonic() - self._turned_at

    def since_saved(self) -> float:
        """Return the seconds since the state was saved, or since the start."""
        since = self._started_at if self._saved_at is None else self._saved_at
        return self._monotonic() - since

    def _gauge(self, name: str, explanation: str, value: Callable[[], float]) -> None:
        Gauge(f"fti_features_{name}", explanation, registry=self.registry).set_function(value)
