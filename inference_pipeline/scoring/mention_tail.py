"""Mentions as they land in the feature store: the Delta table of ``mention_text``, by its version.

Mentions land by appends. What rewrites rows without adding any (a compaction) and what replaces
history (a backfill) is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from inference_pipeline.prediction_log.table import TableLocation, locate_table
from shared.errors import StateError
from shared.features import KNOWN_AT, MENTION_TEXT

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from feast import FeatureStore

_COLUMNS = [KNOWN_AT, "mention_id", "subject_id", "source_id", "text"]


class MentionSourceError(StateError):
    """The table of mentions does not answer; trying again later may help."""


class LostMentionsError(StateError):
    """Mentions that were not scored are no longer to be had. Nothing is skipped in silence."""


@dataclass(frozen=True, order=True)
class Position:
    """How far mentions are scored."""

    version: int
    """The table version up to which all are."""
    rows: int = 0
    """How many are of the version after it."""


@dataclass(frozen=True)
class StoredMention:
    """A mention as the feature store keeps it. Its text is normalised."""

    mention_id: str
    subject_id: str
    source_id: str
    text: str


class MentionSource(Protocol):
    """What stream scoring needs of the feature store."""

    def end(self) -> Position:
        """Return the position after the last mention."""

    def read(self, after: Position, limit: int) -> tuple[list[StoredMention], Position]:
        """Return up to ``limit`` mentions after a position, and the position after them.

        Raises:
            MentionSourceError: the store does not answer.
            LostMentionsError: the mentions after the position are no longer there.
        """


class DeltaMentionSource:
    """The Delta table that Feast reads ``mention_text`` from."""

    def __init__(self, store: FeatureStore) -> None:
        """Connect to nothing yet: the first call does, and may fail and be tried again."""
        self._store = store
        self._kept: tuple[int, list[StoredMention]] = (-1, [])
        """The last version read: a large one is taken in several batches."""

    @cached_property
    def _location(self) -> TableLocation:
        return locate_table(self._store, MENTION_TEXT)

    def end(self) -> Position:
        """Return the position after the last mention."""
        return Position(self._open().version())

    def read(self, after: Position, limit: int) -> tuple[list[StoredMention], Position]:
        """Return up to ``limit`` mentions after a position, and the position after them."""
        table = self._open()
        mentions: list[StoredMention] = []
        for version, appends in _versions(table, after):
            landed = self._landed(table, version) if appends else []
            landed = landed[after.rows :]
            room = limit - len(mentions)
            mentions += landed[:room]
            if len(landed) > room:
                return mentions, Position(version - 1, after.rows + room)
            after = Position(version)
            if len(mentions) == limit:
                break
        return mentions, after

    def _open(self) -> DeltaTable:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        location = self._location
        try:
            return DeltaTable(location.uri, storage_options=location.storage_options)
        except (DeltaError, OSError) as error:
            raise _unanswered(error) from error

    def _landed(self, table: DeltaTable, version: int) -> list[StoredMention]:
        """Return the mentions that a version added, in an order that is the same every time."""
        import pyarrow as pa
        from deltalake.exceptions import DeltaError

        if self._kept[0] == version:
            return self._kept[1]
        try:
            changes = pa.table(
                table.load_cdf(starting_version=version, ending_version=version, columns=_COLUMNS)
            )
        except (DeltaError, OSError) as error:
            raise _unanswered(error) from error
        rows: list[dict[str, Any]] = changes.select(_COLUMNS).to_pylist()
        rows.sort(key=lambda row: (row[KNOWN_AT], row["mention_id"]))
        for row in rows:
            del row[KNOWN_AT]
        self._kept = (version, [StoredMention(**row) for row in rows])
        return self._kept[1]


def _versions(table: DeltaTable, after: Position) -> Iterator[tuple[int, bool]]:
    """Yield the versions after a position, in order, and whether each appends rows."""
    behind = table.version() - after.version
    if behind < 0:
        raise LostMentionsError(
            f"table of {MENTION_TEXT}",
            expected=f"version {after.version}, up to which mentions are scored",
            found=f"version {table.version()}: another table in its place",
            remedy="Bring back the table; or take mention_prediction away with it, and begin anew.",
        )
    if behind == 0:
        return
    commits = {commit["version"]: commit for commit in table.history(behind)}
    for version in range(after.version + 1, table.version() + 1):
        if version not in commits:
            raise LostMentionsError(
                f"table of {MENTION_TEXT}",
                expected=f"version {version} in its log, the first that is not scored",
                found=f"{min(commits)} as the oldest" if commits else "none",
                remedy="Score from a backup of the table, whose log is longer.",
            )
        commit = commits[version]
        mode = commit.get("operationParameters", {}).get("mode")
        yield version, commit.get("operation") == "WRITE" and mode == "Append"


def _unanswered(error: Exception) -> MentionSourceError:
    return MentionSourceError(
        f"feature store, table of {MENTION_TEXT}",
        expected="a table that answers",
        found=type(error).__name__,
        remedy="It is tried again; the log tells more.",
    )
