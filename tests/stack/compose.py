"""The stack as a Compose project of its own, with its own ports, secrets and volumes."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from demo.stack.client import Stack, stack_of, wait_until

ROOT = Path(__file__).parents[2]
_PORTS = ("INFERENCE_PORT", "FEATURES_PORT", "TRAINING_PORT", "MLFLOW_PORT", "PROMETHEUS_PORT")
_HEALTHY_SECONDS = 300.0
IMAGES = ("features", "training", "inference", "mlflow")


@dataclass(frozen=True)
class Container:
    """What Docker says of a service's container."""

    id: str
    status: str
    """``running`` or ``exited``, say."""
    health: str
    """``healthy``, ``starting``, ``unhealthy``, or ``none`` where it has no health check."""
    exit_code: int
    started_at: float
    """Seconds since 1970."""


class Project:
    """A project of Compose. Its volumes go with it."""

    def __init__(self, folder: Path, task_file: Path, settings: Mapping[str, str]) -> None:
        """Make its ``.env`` and secrets.

        Args:
            folder: of these files.
            task_file: of the stack.
            settings: that differ from ``.env.example``.
        """
        self.folder = folder
        self.task_file = task_file
        script = str(ROOT / "deploy" / "stack" / "secret_files.py")
        command = [sys.executable, script, "--folder", str(folder)]
        subprocess.run(command, check=True)
        own = {name: str(_free_port()) for name in _PORTS} | _prometheus_at_hand() | dict(settings)
        own |= {"TASK_FILE": str(task_file), "SECRETS_FOLDER": str(folder / ".secrets")}
        with (folder / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in own.items())

    @property
    def stack(self) -> Stack:
        """The services as a user sees them."""
        return stack_of(self.folder, {})

    def compose(self, *arguments: str, stdin: str | None = None) -> str:
        """Run Compose; return what it wrote to the standard output."""
        command = [
            *_compose(),
            "--project-name",
            "fti-check",
            "--env-file",
            str(self.folder / ".env"),
        ]
        done = subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            input=stdin,
            text=True,
            stdout=subprocess.PIPE,
            check=False,
        )
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}: {done.returncode}"
        return done.stdout

    def up(self) -> dict[str, float]:
        """Start all; return by service the seconds from its start until it was healthy.

        They are found by looking twice a second, at checks that Compose's file has every 5 s.
        """
        self.compose("up", "--detach")
        healthy: dict[str, float] = {}

        def all_healthy() -> bool:
            found = {n: c for n, c in self.containers().items() if c.health != "none"}
            for name, container in found.items():
                if container.health == "healthy":
                    healthy.setdefault(name, time.time() - container.started_at)
            return healthy.keys() == found.keys()

        wait_until(all_healthy, "health of all services", _HEALTHY_SECONDS)
        return healthy

    def containers(self) -> dict[str, Container]:
        """Return the containers by service."""
        ids = self.compose("ps", "--all", "--quiet").split()
        return {
            found["Config"]["Labels"]["com.docker.compose.service"]: _container(found)
            for found in json.loads(_docker("inspect", *ids))
        }

    def kill(self, service: str) -> None:
        """End a container's processes at once, as ``kill -9`` does."""
        _docker("kill", "--signal", "KILL", self.containers()[service].id)

    def start(self, service: str) -> None:
        """Start a killed container again."""
        _docker("start", self.containers()[service].id)

    def wait_healthy(self, service: str) -> None:
        """Wait until a service's health check passes."""
        wait_until(
            lambda: self.containers()[service].health == "healthy",
            f"health of {service}",
            _HEALTHY_SECONDS,
        )

    def tear_down(self) -> None:
        """Remove containers, networks and volumes."""
        self.compose("down", "--volumes", "--timeout", "20")


def _prometheus_at_hand() -> dict[str, str]:
    """Return another image of Prometheus if only that is here, and say so.

    Nothing if the environment names one: Compose takes that before what a file says.
    """
    pinned = re.search(r"(?m)^#PROMETHEUS_IMAGE=(\S+)$", (ROOT / ".env.example").read_text())
    assert pinned is not None
    other = pinned[1].partition(":")[0]
    if "PROMETHEUS_IMAGE" in os.environ or _is_here(pinned[1]) or not _is_here(other):
        return {}
    print(f"{pinned[1]} is not on this machine: the test runs with {other}, which is")  # noqa: T201 - the test's report
    return {"PROMETHEUS_IMAGE": other}


def _is_here(image: str) -> bool:
    command = ["docker", "image", "inspect", image]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def image_sizes() -> dict[str, int]:
    """Return the sizes of the project's images, in bytes."""
    return {
        name: json.loads(_docker("image", "inspect", f"fti/{name}:latest"))[0]["Size"]
        for name in IMAGES
    }


def base_size() -> int:
    """Return the size of the image that the project's own are built on, in bytes."""
    name = os.environ.get("PYTHON_IMAGE", "python:3.11-slim")
    size: int = json.loads(_docker("image", "inspect", name))[0]["Size"]
    return size


def _container(found: dict[str, Any]) -> Container:
    state = found["State"]
    health = state.get("Health", {"Status": "none"})
    return Container(
        id=found["Id"],
        status=state["Status"],
        health=health["Status"],
        exit_code=state["ExitCode"],
        started_at=_moment(state["StartedAt"]),
    )


def _moment(text: str) -> float:
    # Docker gives nanoseconds, which datetime does not take.
    whole, _, rest = text.partition(".")
    fraction = rest.rstrip("Z").partition("+")[0][:6] or "0"
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction}")


def _compose() -> list[str]:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)  # noqa: S607 - the one on the PATH
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def _docker(*arguments: str) -> str:
    docker = shutil.which("docker")
    assert docker is not None, "Docker is not installed"
    return subprocess.run(
        [docker, *arguments], check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
