"""Requests made up from the gateway's documentation find no fault of it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from feature_pipeline.dead_letters import DeadLetters
from feature_pipeline.eventlog.memory import MemoryEventLog
from feature_pipeline.gateway.door import Limits
from tests.features.test_gateway import gateway_of

SETTINGS = """
[generation]
deterministic = true
max-examples = 25

[checks]
# Schemas cannot say that a text has something to read, that an id has no white space at its ends,
# or that a label's mention was posted before.
positive_data_acceptance.enabled = false
"""


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an application on loopback while the context lasts; yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (listening,) = server.servers[0].sockets
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_no_request_gets_an_undocumented_answer(tmp_path: Path) -> None:
    """Whatever is posted, no answer is a 5xx, and each is one that the documentation tells of."""
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    log = MemoryEventLog()
    with (
        closing(DeadLetters(tmp_path / "dead.db")) as dead_letters,
        serving(gateway_of(log, dead_letters, limits=Limits())) as address,
    ):
        done = subprocess.run(
            [
                sys.executable,
                *("-m", "schemathesis.cli", "--config-file", "schemathesis.toml"),
                *("run", f"{address}/openapi.json", "--no-color", "--warnings", "off"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 5" in done.stdout
    assert log.size() > 0
