"""The stream: how fast a worker works off a backlog, and how soon a mention shows online."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from deltalake import DeltaTable

from benchmarks.errors import BenchmarkError
from benchmarks.features.mentions import make_mentions
from benchmarks.features.services import feature_service, free_port, peak_bytes, until
from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.settings import FeatureSettings
from shared.events import Mention
from shared.feature_store import open_feature_store
from shared.features import MENTION_TEXT

if TYPE_CHECKING:
    from feast import FeatureStore

_APPEND = 1_000
_ENDS = 8
_TICK_SECONDS = 0.05
_PROBE_SECONDS = 0.1
_READ_SECONDS = 0.01
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Deployment:
    """Where a stream runs: its own home, log and online store on one Redis server."""

    home: Path
    task: Path
    redis: str

    @property
    def settings(self) -> dict[str, str]:
        """The settings of gateway and worker."""
        return {
            "FTI_HOME": str(self.home),
            "FTI_TASK": str(self.task),
            "FTI_FEATURES_LOG": self.redis,
            "FTI_ONLINE_STORE": self.redis,
        }

    def pipeline(self) -> FeaturePipeline:
        """Return the feature pipeline of this process, with the same settings."""
        return FeaturePipeline(
            FeatureSettings.model_validate(
                {
                    "home": self.home,
                    "task": self.task,
                    "features_log": self.redis,
                    "online_store": self.redis,
                }
            )
        )


@dataclass(frozen=True)
class Backlog:
    """How a worker works off a backlog."""

    mentions: int
    seconds: float
    """From the first commit offline to the last row online."""
    measured: int
    """Mentions after the first commit."""
    peak_bytes: int

    @property
    def rate(self) -> float:
        """Mentions a second."""
        return self.measured / self.seconds


@dataclass(frozen=True)
class Freshness:
    """From when a POST was due to the moment at which the online store shows it, in milliseconds.

    A gateway that answers late makes the next POST late, which then counts as waiting.
    """

    posted_per_second: float
    probes: int
    p50_ms: float
    p99_ms: float


def work_off(deployment: Deployment, count: int, folder: Path) -> Backlog:
    """Append mentions to the log, start a worker, and time it."""
    mentions = _mentions(count, seed=1)
    # Subjects of their own, over all partitions of the log, tell when everything is online.
    ends = [f"end {number}" for number in range(_ENDS)]
    mentions[-_ENDS:] = [
        mention.model_copy(update={"subject_id": subject})
        for mention, subject in zip(mentions[-_ENDS:], ends, strict=True)
    ]
    pipeline = deployment.pipeline()
    tables, _ = pipeline.open_store()
    log = pipeline.open_log()
    for start in range(0, count, _APPEND):
        log.append(mentions[start : start + _APPEND])
    last = _Probe(deployment, ends)
    path = tables.path(MENTION_TEXT)
    with feature_service("stream", folder, deployment.settings) as worker:
        until(lambda: _rows(path) > 0, "a first commit", _PATIENCE_SECONDS, worker)
        begin, first = time.perf_counter(), _rows(path)
        until(lambda: last.shown() == ends, "all online", _PATIENCE_SECONDS, worker)
        seconds = time.perf_counter() - begin
        until(lambda: _rows(path) == count, "all offline", _PATIENCE_SECONDS, worker)
        peak = peak_bytes(worker)
    log.close()
    return Backlog(count, seconds, count - first, peak)


def freshness(deployment: Deployment, rate: int, seconds: float, folder: Path) -> Freshness:
    """Post mentions at a rate, and look for those with a subject of their own.

    Raises:
        BenchmarkError: a POST was refused, or a mention did not show in time.
    """
    port = free_port()
    settings = {
        **deployment.settings,
        "FTI_FEATURES_PORT": str(port),
    }
    deployment.pipeline().open_store()
    url = f"http://127.0.0.1:{port}/v1/mentions"
    warm = _mentions(1, seed=2)[0].model_copy(update={"subject_id": "warm"})
    ready = _Probe(deployment, ["warm"])
    with feature_service("serve", folder, settings) as gateway:
        answers = "an answer of the gateway"
        until(lambda: not _refusal(url, [warm]), answers, _PATIENCE_SECONDS, gateway)
        with feature_service("stream", folder, deployment.settings) as worker:
            shows = "a first mention online"
            until(lambda: bool(ready.shown()), shows, _PATIENCE_SECONDS, gateway, worker)
            return _probe(deployment, url, rate, seconds)


def _probe(deployment: Deployment, url: str, rate: int, seconds: float) -> Freshness:
    size = max(1, int(rate * _TICK_SECONDS))
    mentions = _mentions(size * int(seconds / _TICK_SECONDS), seed=3)
    probe = _Probe(deployment, [])
    due_at: dict[str, float] = {}
    waits: list[float] = []

    def look() -> None:
        now_shown = probe.shown()
        seen = time.perf_counter()
        for subject in now_shown:
            waits.append(seen - due_at[subject])
            probe.subjects.remove(subject)

    begin = time.perf_counter()
    for tick, start in enumerate(range(0, len(mentions), size)):
        batch = mentions[start : start + size]
        if tick % round(_PROBE_SECONDS / _TICK_SECONDS) == 0:
            subject = f"probe {tick}"
            batch[0] = batch[0].model_copy(update={"subject_id": subject})
            due_at[subject] = begin + tick * _TICK_SECONDS
        _post(url, batch)
        if tick % round(_PROBE_SECONDS / _TICK_SECONDS) == 0:
            probe.subjects.append(subject)
        while time.perf_counter() < begin + (tick + 1) * _TICK_SECONDS:
            if probe.subjects:
                look()
            time.sleep(_READ_SECONDS)
    took = time.perf_counter() - begin
    while probe.subjects and time.perf_counter() < begin + took + _PATIENCE_SECONDS:
        look()
        time.sleep(_READ_SECONDS)
    if probe.subjects:
        raise BenchmarkError(
            "online store",
            expected=f"all of {len(due_at)} probes within {_PATIENCE_SECONDS:g} s",
            found=f"{len(probe.subjects)} missing",
        )
    milliseconds = sorted(1000 * wait for wait in waits)
    return Freshness(
        posted_per_second=len(mentions) / took,
        probes=len(milliseconds),
        p50_ms=statistics.median(milliseconds),
        p99_ms=milliseconds[min(len(milliseconds) - 1, int(0.99 * len(milliseconds)))],
    )


class _Probe:
    """Looks for subjects in the online store, as serving does."""

    def __init__(self, deployment: Deployment, subjects: Sequence[str]) -> None:
        self._store: FeatureStore = open_feature_store(deployment.pipeline().settings.places)
        self.subjects = list(subjects)

    def shown(self) -> list[str]:
        """Return those that are there."""
        if not self.subjects:
            return []
        found: dict[str, list[Any]] = self._store.get_online_features(
            features=["subject_activity:mentions_1h"],
            entity_rows=[{"subject_id": subject} for subject in self.subjects],
        ).to_dict()
        return [
            subject
            for subject, mentions in zip(self.subjects, found["mentions_1h"], strict=True)
            if mentions is not None
        ]


def _mentions(count: int, seed: int) -> list[Mention]:
    rows = make_mentions(count, seed).drop("label").iter_rows(named=True)
    return [Mention(**row) for row in rows]


def _rows(path: str) -> int:
    counted = pl.scan_delta(path).select(pl.len()).collect().item() if _exists(path) else 0
    return int(counted)


def _exists(path: str) -> bool:
    return DeltaTable.is_deltatable(path)


def _post(url: str, mentions: list[Mention]) -> None:
    if refusal := _refusal(url, mentions):
        raise BenchmarkError("gateway", expected="every mention taken", found=refusal)


def _refusal(url: str, mentions: list[Mention]) -> str:
    """Post a batch; return why the gateway did not take all of it, nothing if it did."""
    body = {
        "mentions": [mention.model_dump(mode="json", exclude_none=True) for mention in mentions]
    }
    request = urllib.request.Request(  # noqa: S310 - this machine's own gateway
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
            accepted = json.load(answer)["accepted"]
    except OSError as error:
        return str(error)
    return "" if accepted == len(mentions) else f"{accepted} of {len(mentions)}"
