"""What happens to a server in its life: its champion changes, and its feature store goes away."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient

from shared.manifest import CHAMPION
from shared.model_registry import tracking_uri
from shared.places import Places


class Swaps:
    """Moves the alias ``champion`` to and fro between a version and its copy."""

    def __init__(self, home: Path, model: str) -> None:
        uri = tracking_uri(Places.embedded(home))
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._model = model
        first = self._client.get_model_version_by_alias(model, CHAMPION)
        second = self._client.create_model_version(
            model, str(first.source), first.run_id, tags=first.tags
        )
        self._versions = str(first.version), str(second.version)
        self.count = 0

    def swap(self) -> None:
        """Make the other version champion."""
        self.count += 1
        chosen = self._versions[self.count % 2]
        self._client.set_registered_model_alias(self._model, CHAMPION, chosen)


class Outages:
    """Makes the embedded online store unavailable: somebody else holds its database."""

    def __init__(self, home: Path, seconds: float) -> None:
        self._database = home / "feast" / "online.db"
        self._seconds = seconds
        self.count = 0

    def break_down(self) -> None:
        """Hold the store, and give it back."""
        connection = sqlite3.connect(self._database, timeout=30, isolation_level=None)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            self.count += 1
            time.sleep(self._seconds)
            connection.execute("ROLLBACK")
        finally:
            connection.close()


class Repeatedly:
    """Does something again and again in a thread, until its ``with`` block ends."""

    def __init__(self, what: Callable[[], None], every_seconds: float) -> None:
        self._what = what
        self._every = every_seconds
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Repeatedly:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            try:
                self._what()
            except Exception as error:  # noqa: BLE001 - raised where the block ends
                self._failure = error
                return
