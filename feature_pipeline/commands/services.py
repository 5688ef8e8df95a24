"""What runs until it is told to stop: the gateway."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import suppress

from feature_pipeline.bootstrap.gateway import serve
from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.commands.command import Command


def _serve(pipeline: FeaturePipeline, _: argparse.Namespace) -> None:
    # Uvicorn drains on these and then raises them again; both are how it is meant to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(KeyboardInterrupt):
        serve(pipeline)


SERVE = Command("serve", "take mentions and labels over HTTP", _serve)
