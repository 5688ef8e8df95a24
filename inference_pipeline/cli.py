"""The command line: ``python -m inference_pipeline serve | score | score-stream``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from inference_pipeline.scoring.commands import add_commands
from inference_pipeline.settings import InferenceSettings
from shared.errors import FtiError
from shared.logs import configure_logs
from shared.settings import load_settings
from shared.task import load_task

_DRAIN_SECONDS = 10
"""For answers, which take two seconds by default, and for bodies that never come whole."""
_SWITCH_SECONDS = 0.0005
"""A thread asks for the interpreter's lock so soon: a pass that ended shall not wait for 5 ms."""
_INTERRUPTED = 130
_NOT_STARTED = 3
"""The exit status of a server that could not start, such as on a taken port."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the process's exit status."""
    given = _parser().parse_args(arguments)
    try:
        status: int = given.run(_settings(given), given)
    except FtiError as error:
        print(f"inference_pipeline: {error}", file=sys.stderr)  # noqa: T201 - a command's message
        return 1
    except KeyboardInterrupt:
        print("interrupted; run it again to go on", file=sys.stderr)  # noqa: T201 - as above
        return _INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inference_pipeline",
        description="Predict with the champion of a task: over HTTP, for a file, for each mention.",
        epilog="Settings come from FTI_… environment variables; an unknown one stops the start.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="answer POST /v1/predict until SIGTERM or Ctrl-C",
        description="Answer POST /v1/predict with the version that the alias champion names. "
        "A new champion is picked up while serving; without one, /readyz says what is missing.",
    )
    serve.add_argument("--host", help="address to listen on (FTI_INFERENCE_HOST, 127.0.0.1)")
    serve.add_argument("--port", help="port to listen on (FTI_INFERENCE_PORT, 8000)")
    serve.set_defaults(run=_serve)
    add_commands(commands)
    return parser


def _settings(given: argparse.Namespace) -> InferenceSettings:
    """Return the settings; what stands on the command line goes before the environment."""
    flags = {name: getattr(given, name, None) for name in ("host", "port", "model")}
    chosen = {
        f"FTI_INFERENCE_{name.upper()}": value for name, value in flags.items() if value is not None
    }
    settings = load_settings(InferenceSettings, {**os.environ, **chosen})
    if settings.inference_model:
        return settings
    return settings.model_copy(update={"inference_model": load_task(settings.task).name})


def _serve(settings: InferenceSettings, _: argparse.Namespace) -> int:
    import uvicorn

    from inference_pipeline.bootstrap import build_app
    from inference_pipeline.http.draining import DrainingServer
    from shared.http_protocol import BoundedHeads

    sys.setswitchinterval(_SWITCH_SECONDS)
    configure_logs("inference", log_format=settings.log_format, level=settings.log_level)
    # Uvicorn drains on SIGTERM and then raises it again, for the handler that stood before.
    signal.signal(signal.SIGTERM, _exit)
    server = DrainingServer(
        uvicorn.Config(
            build_app(settings),
            host=settings.inference_host,
            port=settings.inference_port,
            http=BoundedHeads,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
    )
    try:
        server.run()
    except KeyboardInterrupt:
        # Uvicorn has drained: there is nothing to go on with.
        return _INTERRUPTED
    return 0 if server.started else _NOT_STARTED


def _exit(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
