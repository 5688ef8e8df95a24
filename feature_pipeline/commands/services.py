"""What runs until it is told to stop: the gateway and the stream worker."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import suppress

from feature_pipeline.bootstrap import FeaturePipeline
from feature_pipeline.commands.command import Command


def _serve(pipeline: FeaturePipeline, _: argparse.Namespace) -> None:
    # Uvicorn drains on these and then raises them again; both are how it is meant to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(KeyboardInterrupt):
        pipeline.serve()


def _stream(pipeline: FeaturePipeline, _: argparse.Namespace) -> None:
    pipeline.stream()


SERVE = Command("serve", "take mentions and labels over HTTP", _serve)
STREAM = Command("stream", "turn posted events into features", _stream)
