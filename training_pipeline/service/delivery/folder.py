"""Messages as files of a folder: kombu's transport, made safe for processes that meet there.

Kombu writes a message under its final name, so that a reader may find half of it, and keeps tables
of bindings that two processes can spoil for each other. Here a message appears whole, and no table
is needed: an exchange has one queue, of the same name.
"""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import filesystem

_UNFINISHED = ".unfinished"


class Channel(filesystem.Channel):
    """Reads and writes messages of one folder."""

    def get_table(self, exchange: str) -> list[filesystem.exchange_queue_t]:
        """Return the one queue of an exchange."""
        return [filesystem.exchange_queue_t(exchange, "", exchange)]

    def _queue_bind(self, *_: object) -> None:
        """Do nothing: names bind them."""

    def _put(  # type: ignore[override]  # kombu's own classes disagree about the names
        self, queue: str, payload: dict[str, Any], **_: object
    ) -> None:
        folder = Path(self.data_folder_out)
        # Readers take files in order of their names; what ends otherwise they leave alone.
        name = f"{time.time_ns():020}_{uuid.uuid4().hex}.{queue}.msg"
        unfinished = folder / f"{name}{_UNFINISHED}"
        unfinished.write_text(json.dumps(payload), encoding="utf-8")
        unfinished.rename(folder / name)


class Transport(filesystem.Transport):
    """The transport, to be named in a broker's address."""

    Channel = Channel
