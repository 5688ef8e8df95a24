"""The embedded mode's processes: started, watched, and never left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo.home import refresh_home
from deploy.embedded.home import hold_home
from deploy.embedded.processes import Processes, Service
from shared.errors import StateError

SLEEPER = Service("sleeper", ("tests.embedded.sleeper",))
"""Tells its pid, and sleeps."""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in (Path("/proc") / str(pid) / "stat").read_text().split(") ")[1][:1]


def until_dead(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, "a process was left running"
        time.sleep(0.05)


def started_pid(processes: Processes) -> int:
    """Wait until the sleeper has told its pid."""
    log = processes.log_of(SLEEPER)
    processes.wait_until(lambda: log.read_text().endswith("\n"), "the sleeper", 20)
    return int(log.read_text())


def test_processes_end_with_the_context(tmp_path: Path) -> None:
    """No process outlives the context, however that ends."""
    pids = []

    def fail_amid() -> None:
        with Processes(tmp_path, os.environ | {"PYTHONPATH": str(Path.cwd())}) as processes:
            processes.start([SLEEPER])
            pids.append(started_pid(processes))
            raise RuntimeError("the demo failed")

    with pytest.raises(RuntimeError, match="the demo failed"):
        fail_amid()
    until_dead(pids)


def test_killed_launcher_takes_its_processes_along(tmp_path: Path) -> None:
    """After kill -9 of whoever started them, nothing holds the ports."""
    code = (
        "import os, sys, time; from pathlib import Path;"
        "from deploy.embedded.processes import Processes;"
        "from tests.embedded.test_processes import SLEEPER, started_pid;"
        "p = Processes(Path(sys.argv[1]), os.environ); p.__enter__(); p.start([SLEEPER]);"
        "print(started_pid(p), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    ) as launcher:
        assert launcher.stdout is not None
        pid = int(launcher.stdout.readline())
        launcher.send_signal(signal.SIGKILL)
    until_dead([pid])


def test_dead_process_is_told(tmp_path: Path) -> None:
    """Waiting ends as soon as a process has died, with its last words and its log."""
    service = Service("broken", ("no_such_module_of_ours",))
    with Processes(tmp_path, os.environ) as processes:
        processes.start([service])
        with pytest.raises(StateError, match=r"No module named.*broken\.log"):
            processes.wait_until(lambda: False, "start", 20)


def test_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    """A taken port is an error that names the service and the settings."""
    with socket.socket() as taken, Processes(tmp_path, os.environ) as processes:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        service = Service("features", ("feature_pipeline", "serve"), taken.getsockname()[1])
        with pytest.raises(StateError, match="FTI_FEATURES_PORT"):
            processes.start([service])


def test_home_is_held_by_one(tmp_path: Path) -> None:
    """Two embedded systems cannot run in one home; after the first has ended, the next can."""
    with hold_home(tmp_path / "home") as home:
        second = hold_home(home)
        with pytest.raises(StateError, match="set FTI_HOME"):
            second.__enter__()
    with hold_home(home):
        assert home.is_dir()


def test_demo_deletes_only_what_it_made(tmp_path: Path) -> None:
    """The demo empties its own home, and refuses one that holds somebody's data."""
    own, foreign = tmp_path / "own", tmp_path / "foreign"
    with hold_home(own):
        refresh_home(own)
        (own / "offline").mkdir()
        refresh_home(own)
        assert not (own / "offline").exists()
    with hold_home(foreign):
        (foreign / "models").mkdir()
        with pytest.raises(StateError, match="would delete"):
            refresh_home(foreign)
        assert (foreign / "models").exists()
