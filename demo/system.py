"""The system as the demo sees it: commands, HTTP and the online store, as any user's."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from rich.console import Console

from deploy.embedded.processes import Processes, Service, answers
from shared.errors import StateError
from shared.feature_store import open_feature_store
from shared.features import SUBJECT_ACTIVITY
from shared.places import Places
from shared.task import Task

if TYPE_CHECKING:
    from feast import FeatureStore

_START_SECONDS = 90.0
_INTERRUPTED = 130
"""The exit code of a command that was interrupted."""
_ANSWER_SECONDS = 60.0


@dataclass
class System:
    """The three services of the embedded mode, and the commands beside them."""

    console: Console
    task: Task
    task_file: Path
    home: Path
    places: Places
    environment: dict[str, str]
    services: dict[str, Service]
    processes: Processes

    def command(self, module: str, command: str, *arguments: str) -> None:
        """Run a command; its output goes to the terminal.

        Raises:
            StateError: it fails.
            KeyboardInterrupt: it was interrupted.
        """
        line = [module, command, "--task", str(self.task_file), *arguments]
        self.console.print(f"$ python -m {' '.join(line)}", markup=False, soft_wrap=True)
        code = subprocess.call([sys.executable, "-m", *line], env=self.environment)  # noqa: S603 - the project's own modules
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            raise StateError(
                f"python -m {module} {command}",
                expected="exit code 0",
                found=str(code),
                remedy="What it printed above says why.",
            )

    def start(self) -> None:
        """Start the services and wait until all are ready."""
        self.processes.start(list(self.services.values()))
        urls = [f"{service.url}/readyz" for service in self.services.values() if service.port]
        with self.console.status("Starting the services"):
            self.processes.wait_until(
                lambda: all(answers(url) for url in urls), "start of the services", _START_SECONDS
            )

    def url(self, service: str) -> str:
        """Return the address of a service."""
        return self.services[service].url

    def get(self, service: str, path: str) -> dict[str, Any]:
        """Return the JSON answer to a GET; raises StateError when it is a failure."""
        return _content(httpx.get(self.url(service) + path, timeout=_ANSWER_SECONDS))

    def post(self, service: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON answer to a POST; raises StateError when it is a failure."""
        return _content(httpx.post(self.url(service) + path, json=body, timeout=_ANSWER_SECONDS))

    def online(self, subject: str, features: list[str]) -> dict[str, Any]:
        """Return online activity features of a subject; 0 where it is unknown."""
        row = self._store.get_online_features(
            features=[f"{SUBJECT_ACTIVITY}:{name}" for name in features],
            entity_rows=[{"subject_id": subject}],
        ).to_dict()
        return {name: row[name][0] or 0 for name in features}

    @cached_property
    def _store(self) -> FeatureStore:
        return open_feature_store(self.places)


def _content(answer: httpx.Response) -> dict[str, Any]:
    if not answer.is_success:
        request = answer.request
        raise StateError(
            f"{request.method} {request.url}",
            expected="success",
            found=f"{answer.status_code} {answer.text[:500]}",
        )
    content: dict[str, Any] = answer.json()
    return content
