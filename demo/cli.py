"""The command line of the demo."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console

from demo.environment import demo_environment
from demo.home import refresh_home
from demo.loop import Loop
from demo.proof import show_proofs
from demo.sample import sample_file
from demo.system import System
from deploy.embedded.home import hold_home
from deploy.embedded.processes import Processes
from deploy.embedded.services import embedded_services
from shared.errors import FtiError
from shared.places import Places
from shared.settings import Settings, load_settings
from shared.task import load_task


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code: 0 all proved, 1 not, 130 interrupted."""
    options = _parser().parse_args(arguments)
    console = Console()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _run(options, console, dict(os.environ))
    except FtiError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command line's answer
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything was stopped, run it again", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _run(options: argparse.Namespace, console: Console, environment: dict[str, str]) -> None:
    begin = time.monotonic()
    environment = demo_environment(environment)
    settings = load_settings(Settings, environment)
    task_file = options.task or settings.task
    task = load_task(task_file)
    environment |= {"FTI_HOME": str(settings.home), "FTI_TASK": str(task_file)}
    services = embedded_services(environment)
    with hold_home(settings.home) as home:
        refresh_home(home)
        with Processes(home / "logs", environment) as processes:
            system = System(
                console=console,
                task=task,
                task_file=task_file,
                home=home,
                places=Places.embedded(home),
                environment=environment,
                services=services,
                processes=processes,
            )
            loop = Loop(system, options.input or sample_file(), options.unseen)
            proofs = loop.run()
    console.rule(align="left")
    show_proofs(console, proofs)
    console.print(
        f"All of it took {(time.monotonic() - begin) / 60:.1f} minutes and stands in {home}."
        f" FTI_HOME={home} FTI_TASK={task_file} make serve brings the services back up."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Runs the whole loop: backfill, training, serving, streaming, retraining.",
        epilog="All state lives under FTI_HOME (.fti), which the demo makes anew each time.",
    )
    parser.add_argument("--task", type=Path, help="task file (default: FTI_TASK, the sample)")
    parser.add_argument("--input", type=Path, help="file of history (default: the sample's)")
    parser.add_argument(
        "--unseen",
        type=int,
        default=200,
        metavar="N",
        help="hold back the newest N mentions and stream them (default: 200)",
    )
    return parser


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
