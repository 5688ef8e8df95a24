"""The stream worker with its probe."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing, nullcontext
from datetime import timedelta
from threading import Event

from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.quality.metrics import QualityMetrics
from feature_pipeline.quality.stream_watch import StreamWatch
from feature_pipeline.store.claim import claim_home
from feature_pipeline.store.handover import Handover
from feature_pipeline.store.outage import OUTAGES
from feature_pipeline.stream.cluster import ClusterMember
from feature_pipeline.stream.dataflow import StreamWorker
from feature_pipeline.stream.metrics import StreamMetrics
from feature_pipeline.stream.patience import Patience
from feature_pipeline.stream.probe import Probe, create_probe
from feature_pipeline.stream.sink import FeatureStoreSink
from feature_pipeline.stream.writer import StoreWriter
from shared.garbage import spare_what_stays
from shared.listening import check_host


def stream(pipeline: FeaturePipeline, member: ClusterMember | None = None) -> None:
    """Run the stream worker, or one process of a cluster of them, until SIGTERM or Ctrl-C."""
    handover = Handover(pipeline.folder)
    claim_home(pipeline.folder, pipeline.task, anew=False)
    stop = Event()
    metrics = StreamMetrics()
    with (
        pipeline.sole_writer() if member is None else pipeline.cluster_writer(member),
        closing(pipeline.open_log()) as log,
        _probe(pipeline, log, metrics, member),
    ):
        handover.check_finished()
        StreamWorker(
            task=pipeline.task,
            log=log,
            sink=FeatureStoreSink(lambda: _open_writer(pipeline, metrics, stop)),
            initial=lambda partition: handover.load(pipeline.task, partition, log.partitions),
            begin_after=handover.position,
            recovery=handover.recovery,
            poll=timedelta(seconds=pipeline.settings.features_poll_seconds),
            read_limit=pipeline.settings.features_read_limit,
            epoch=timedelta(seconds=pipeline.settings.features_epoch_seconds),
            stop=stop,
            metrics=metrics,
            member=member,
        ).run()


def _open_writer(pipeline: FeaturePipeline, metrics: StreamMetrics, stop: Event) -> StoreWriter:
    """Open the feature store, and wait for it while it is away."""
    settings = pipeline.settings
    patience = Patience(OUTAGES, timedelta(seconds=settings.features_outage_seconds), stop)
    offline, online = patience(pipeline.open_store)
    spare_what_stays()
    return StoreWriter(
        offline,
        online,
        metrics=metrics,
        watch=StreamWatch(pipeline.task, QualityMetrics(metrics.registry)),
        patience=patience,
        commit_after=timedelta(seconds=settings.features_commit_seconds),
    )


def _probe(
    pipeline: FeaturePipeline, log: EventLog, metrics: StreamMetrics, member: ClusterMember | None
) -> AbstractContextManager[object]:
    """Return what tells how the stream worker is, if it has a port to tell it on.

    The processes of a cluster that are on one machine count on from that port.
    """
    settings = pipeline.settings
    if settings.features_stream_port is None:
        return nullcontext()
    check_host(
        settings.features_stream_host,
        setting="FTI_FEATURES_STREAM_HOST",
        guarded=settings.features_stream_open,
        open_setting="FTI_FEATURES_STREAM_OPEN=true if only those reach it who may see figures",
    )
    app = create_probe(
        metrics,
        log,
        stall=timedelta(seconds=settings.features_stall_seconds),
        epoch=timedelta(seconds=settings.features_epoch_seconds),
    )
    port = settings.features_stream_port + (0 if member is None else member.place_on_host)
    return Probe(app, settings.features_stream_host, port)
