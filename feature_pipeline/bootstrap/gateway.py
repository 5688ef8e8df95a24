"""The gateway, and what it rejected offered again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn
from fastapi import FastAPI

from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.dead_letters import DeadLetters, KeptLetter, Selection
from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.gateway.access import SCOPES
from feature_pipeline.gateway.app import create_app
from feature_pipeline.gateway.backlog import Backlog
from feature_pipeline.gateway.door import Limits
from feature_pipeline.gateway.heartbeat import Heartbeat
from feature_pipeline.gateway.intake import Intake
from feature_pipeline.gateway.replay import Replay, ReplayReport
from feature_pipeline.store.claim import claim_home
from feature_pipeline.store.handover import Handover
from shared.http_protocol import BoundedHeads
from shared.listening import check_host
from shared.tokens import TokenBook, read_tokens


def serve(pipeline: FeaturePipeline) -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    check_host(
        pipeline.settings.features_host,
        setting="FTI_FEATURES_HOST",
        guarded=pipeline.settings.features_tokens_file is not None
        or pipeline.settings.features_open,
        open_setting="FTI_FEATURES_TOKENS_FILE, or FTI_FEATURES_OPEN=true if a proxy guards it",
    )
    claim_home(pipeline.folder, pipeline.task, anew=False)
    with (
        pipeline.sole_gateway(),
        closing(pipeline.open_log()) as log,
        closing(pipeline.open_dead_letters()) as dead_letters,
    ):
        Handover(pipeline.folder).check_finished("backfill")
        uvicorn.run(
            gateway(pipeline, log, dead_letters),
            host=pipeline.settings.features_host,
            port=pipeline.settings.features_port,
            http=BoundedHeads,
            log_config=None,
            access_log=False,
        )


def gateway(pipeline: FeaturePipeline, log: EventLog, dead_letters: DeadLetters) -> FastAPI:
    """Return the gateway's application."""
    settings = pipeline.settings
    return create_app(
        Intake(pipeline.task, log, dead_letters, settings.features_max_batch),
        heartbeat=Heartbeat(log, settings.features_heartbeat_seconds),
        backlog=Backlog(log, settings.features_max_backlog),
        dead_letters=dead_letters,
        limits=Limits(
            body_bytes=settings.features_max_body_bytes,
            requests=settings.features_max_requests,
            events_per_second=settings.features_events_per_second,
            burst=settings.features_burst,
        ),
        tokens=_tokens(pipeline),
    )


def _tokens(pipeline: FeaturePipeline) -> TokenBook | None:
    path = pipeline.settings.features_tokens_file
    if path is None:
        return None
    return read_tokens(path, scopes=SCOPES, setting="FTI_FEATURES_TOKENS_FILE")


def replay(pipeline: FeaturePipeline, which: Selection) -> ReplayReport:
    """Offer dead letters to the event log again."""
    with _opened_replay(pipeline) as offering:
        return offering.run(which)


def replay_edited(pipeline: FeaturePipeline, letter: KeptLetter, body: bytes) -> ReplayReport:
    """Offer a mended batch to the event log in the place of a dead letter."""
    with _opened_replay(pipeline) as offering:
        return offering.run_edited(letter, body)


@contextmanager
def _opened_replay(pipeline: FeaturePipeline) -> Iterator[Replay]:
    claim_home(pipeline.folder, pipeline.task, anew=False)
    with (
        # Not every log takes events from two processes at a time.
        pipeline.sole_gateway(),
        closing(pipeline.open_log()) as log,
        closing(pipeline.open_dead_letters()) as dead_letters,
    ):
        Handover(pipeline.folder).check_finished("backfill")
        intake = Intake(pipeline.task, log, dead_letters, pipeline.settings.features_max_batch)
        yield Replay(intake, dead_letters)
