"""The stream: one worker, or a cluster of them."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from feature_pipeline.bootstrap.pipeline import FeaturePipeline
from feature_pipeline.bootstrap.stream import stream
from feature_pipeline.commands.command import Command, count
from feature_pipeline.settings import FeatureSettings
from feature_pipeline.stream.cluster import ClusterMember, run_cluster
from shared.errors import FtiError, InputError
from shared.logs import configure_logs


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Turns posted events into features until SIGTERM or Ctrl-C. One process by default; with"
        " --workers several on this machine, with --process-id and --addresses one of a cluster"
        " over machines. More processes than log partitions are of no use."
    )
    parser.add_argument("--workers", type=count, metavar="N", help="processes on this machine")
    parser.add_argument(
        "--process-id", type=count, metavar="I", help="which process of a cluster this is, from 0"
    )
    parser.add_argument(
        "--addresses",
        type=_addresses,
        metavar="HOST:PORT,…",
        help="of all processes of the cluster, in order",
    )


def _addresses(text: str) -> tuple[str, ...]:
    addresses = tuple(part.strip() for part in text.split(","))
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise argparse.ArgumentTypeError(f"expected HOST:PORT,…, found {address!r}")
    return addresses


def _run(pipeline: FeaturePipeline, options: argparse.Namespace) -> None:
    if (options.process_id is None) != (options.addresses is None):
        raise InputError(
            "--process-id and --addresses",
            expected="both, or neither",
            found="one of them",
            remedy="Each process of a cluster needs its number and the addresses of all.",
        )
    workers: int | None = options.workers
    if workers == 0 or (workers is not None and options.process_id is not None):
        raise InputError(
            "--workers",
            expected="one or more, and no --process-id beside it",
            found=str(workers),
            remedy="Start each process of a cluster over machines by itself.",
        )
    if options.process_id is not None:
        stream(pipeline, ClusterMember(options.process_id, options.addresses))
    elif workers is not None and workers > 1:
        run_cluster(workers, partial(_run_member, pipeline.settings))
    else:
        stream(pipeline)


def _run_member(settings: FeatureSettings, member: ClusterMember) -> None:
    """Run one process of a cluster on this machine."""
    configure_logs("features", log_format=settings.log_format, level=settings.log_level)
    try:
        stream(FeaturePipeline(settings), member)
    except FtiError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command line's answer
        sys.exit(1)


STREAM = Command("stream", "turn posted events into features", _run, _add_arguments)
