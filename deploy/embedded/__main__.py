"""``python -m deploy.embedded``: the services of the embedded mode until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from datetime import UTC, datetime

from rich.console import Console

from deploy.embedded.home import hold_home
from deploy.embedded.processes import Processes, answers
from deploy.embedded.services import embedded_services
from shared.errors import FtiError
from shared.settings import Settings, load_settings

_START_SECONDS = 90.0


def main() -> int:
    """Run until Ctrl-C or SIGTERM; return the exit code."""
    argparse.ArgumentParser(
        prog="python -m deploy.embedded",
        description="Runs the three services and their workers until Ctrl-C.",
        epilog="Settings come from FTI_* variables; all state lives under FTI_HOME (.fti).",
    ).parse_args()
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    try:
        # On a developer's machine code has changes; the record of a version tells them.
        _run({"FTI_TRAINING_ALLOW_DIRTY": "true", **os.environ}, Console(), stop)
    except FtiError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command line's answer
        return 1
    return 0


def _run(environment: dict[str, str], console: Console, stop: threading.Event) -> None:
    settings = load_settings(Settings, environment)
    services = embedded_services(environment)
    urls = {name: service.url for name, service in services.items() if service.port}
    with hold_home(settings.home) as home, Processes(home / "logs", environment) as processes:
        processes.start(list(services.values()))
        with console.status("Starting the services"):
            processes.wait_until(
                lambda: stop.is_set() or all(answers(f"{url}/healthz") for url in urls.values()),
                "start of the services",
                _START_SECONDS,
            )
        if not stop.is_set():
            _introduce(console, urls)
        while not stop.wait(1.0):
            processes.check_alive()
        console.print("Stopping the services")


def _introduce(console: Console, urls: dict[str, str]) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    mention = (
        '{"mentions":[{"mention_id":"hello-1","text":"@united lost my bag again",'
        f'"published_at":"{now}"}}]}}'
    )
    text = '{"text":"@united lost my bag again"}'
    lines = (
        ("Ask for a prediction", f"{urls['inference']}/v1/predict", text),
        ("Stream an event", f"{urls['features']}/v1/mentions", mention),
        ("Ask for a retraining", f"{urls['training']}/v1/runs", '{"reason":"try it"}'),
    )
    for title, url, body in lines:
        console.print(f"\n{title}:", style="bold")
        command = f"curl -s {url} -H 'content-type: application/json' -d '{body}'"
        console.print(command, markup=False, highlight=False, soft_wrap=True)
    console.print("\nCtrl-C stops all of it.")


if __name__ == "__main__":
    sys.exit(main())
