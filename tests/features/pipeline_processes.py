"""Gateway and stream workers of one home as processes that tests may kill, cheaply and often."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from multiprocessing.process import BaseProcess
from pathlib import Path

import polars as pl
from feast import FeatureStore

from feature_pipeline.definition.records import KnownEvent, KnownLabel, KnownMention
from feature_pipeline.definition.transform import EventTables, Tables, empty_states, transform
from feature_pipeline.eventlog.port import EventLog
from feature_pipeline.eventlog.sqlite import SqliteEventLog
from shared.events import Label, Mention
from shared.feature_store import open_feature_store
from shared.features import KNOWN_AT, ROLES, activity_view, join_key
from shared.places import Places, offline_folder
from shared.task import Task, load_task

TASK = """
name = "reviews"
labels = ["bad", "good"]
[input]
format = "csv"
label_delay = "5s"
[input.columns]
text = "text"
mention_id = "id"
subject_id = "film"
source_id = "critic"
published_at = "date"
label = "rating"
[activity.windows]
"4s" = "1s"
"1h" = "1m"
[training]
base = "none"
"""
_PRELOADED = ["feast", "feast.infra.online_stores.sqlite", "feature_pipeline.cli", "pandas"]


class PipelineProcesses:
    """A home, the processes that run in it, and what its stores should hold.

    Attributes:
        output: what the processes print.
        events: all that the log was ever given, by known_at, trimmed or not.
    """

    def __init__(
        self, home: Path, settings: Mapping[str, str] | None = None, partitions: int = 2
    ) -> None:
        home.mkdir(parents=True)
        self.home = home
        self.partitions = partitions
        self.task_file = home.parent / "reviews.toml"
        self.task_file.write_text(TASK)
        self.output = home.parent / f"{home.name}.log"
        self.events: dict[datetime, KnownEvent] = {}
        self.history = EventTables.of([], [])
        self.places = Places.embedded(home)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name[:4] != "FTI_"},
            "FTI_HOME": str(home),
            "FTI_TASK": str(self.task_file),
            "FTI_FEATURES_PARTITIONS": str(partitions),
            "FTI_FEATURES_HEARTBEAT_SECONDS": "0.2",
            "FTI_FEATURES_EPOCH_SECONDS": "0.3",
            **(settings or {}),
        }

    def start(self, *arguments: str) -> BaseProcess:
        """Start a command: a process of its own, forked from one that has imported everything.

        Importing takes seconds, which a test that kills dozens of processes cannot pay each time.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        process = context.Process(
            target=_run,
            args=(self.environment, self.output, arguments),
            name=arguments[0],
            daemon=True,  # ended with the tests, if not before
        )
        process.start()
        return process

    @contextmanager
    def running(self, *arguments: str) -> Iterator[BaseProcess]:
        """Run a command until the context ends; it is asked to stop then."""
        process = self.start(*arguments)
        try:
            yield process
            process.terminate()
            process.join(60)
        finally:
            kill(process)

    def printed(self) -> str:
        """Return what the processes printed so far."""
        return self.output.read_text() if self.output.exists() else ""

    def open_log(self) -> EventLog:
        """Open the event log, beside the processes."""
        return SqliteEventLog(self.home / "features" / "log.db", self.partitions)

    def append(self, first: int, last: int) -> None:
        """Append mentions, and labels some of which correct earlier ones."""
        mentions = [mention(n) for n in range(first, last)]
        labels = [label(n, "bad" if n % 3 else "good") for n in range(first, last, 2)]
        corrections = [label(n, "good") for n in range(first // 2, last // 2, 3)]
        with closing(self.open_log()) as log:
            log.append([*mentions, *labels, *corrections])
        self.note_events()

    def note_events(self) -> None:
        """Remember what the log holds, before it is trimmed."""
        with closing(self.open_log()) as log:
            for partition in range(log.partitions):
                begin = log.acknowledged(partition).start - 1
                for entry in log.read(partition, begin, 100_000).entries:
                    self.events[entry.event.known_at] = entry.event

    @property
    def task(self) -> Task:
        return load_task(self.task_file)

    @cached_property
    def store(self) -> FeatureStore:
        """The feature store that the worker writes."""
        return open_feature_store(self.places)

    def written(self, view: str) -> pl.DataFrame:
        """Return the rows of an offline table; none before it is made."""
        path = offline_folder(self.home) / view
        return pl.read_delta(str(path)) if (path / "_delta_log").is_dir() else pl.DataFrame()

    def expected(self, until: datetime | None = None) -> Tables:
        """Return what one undisturbed batch gives, over history and all events of the log."""
        logged = EventTables.of(
            [event for event in self.events.values() if isinstance(event, KnownMention)],
            [event for event in self.events.values() if isinstance(event, KnownLabel)],
        )
        known = EventTables(
            pl.concat([self.history.mentions, logged.mentions]),
            pl.concat([self.history.labels, logged.labels]),
        )
        now = until or datetime.now(UTC)
        return transform(self.task, empty_states(self.task), dict.fromkeys(ROLES, known), now)[1]

    def is_settled(self) -> bool:
        """Tell whether both stores hold all, and the short window has forgotten everything."""
        expected = self.expected()
        return (
            all(
                # Labels come after their mention, and are forgotten after it.
                last_rows(expected, role).select(pl.col(r"^(mentions|bad|good)_4s$")).sum().row(0)
                == (0, 0, 0)
                for role in ROLES
            )
            and self.written("source_activity").height == expected["source_activity"].height
            and self.written("subject_activity").height == expected["subject_activity"].height
            and self.wrong_online(expected) == []
        )

    def settles(self) -> bool:
        """Let time pass on the log, as a gateway does; tell whether both stores are settled."""
        with closing(self.open_log()) as log:
            log.heartbeat()
        return self.is_settled()

    def assert_complete(self, expected: Tables | None = None) -> None:
        """Check every row offline, and every feature of every key online."""
        expected = expected if expected is not None else self.expected()
        for view, rows in expected.items():
            found = self.written(view).select(rows.columns)
            order = [rows.columns[0] if "activity" in view else "mention_id", KNOWN_AT]
            assert rows.sort(order).equals(found.sort(order)), view
        assert self.wrong_online(expected) == []

    def wrong_online(self, expected: Tables) -> list[str]:
        """Return the features whose online values are not those of the last rows."""
        wrong = []
        for role in ROLES:
            view, key = activity_view(role), join_key(role)
            last = last_rows(expected, role)
            features = [name for name in last.columns if name not in {key, KNOWN_AT}]
            found = self.store.get_online_features(
                features=[f"{view}:{name}" for name in features],
                entity_rows=last.select(key).to_dicts(),
            ).to_dict()
            # Feast keeps moments in whole seconds.
            exact = [name for name in features if not name.endswith("_seen")]
            wanted = last.to_dict(as_series=False)
            wrong += [f"{view}:{name}" for name in exact if found[name] != wanted[name]]
        return wrong


def last_rows(tables: Tables, role: str) -> pl.DataFrame:
    """Return the last row of each key of a role."""
    changelog = tables[f"{role}_activity"].sort(KNOWN_AT)
    return changelog.group_by(f"{role}_id", maintain_order=True).last()


def kill(process: BaseProcess) -> None:
    """End a process as ``kill -9`` does."""
    process.kill()
    process.join()


def mention(number: int) -> Mention:
    return Mention(
        mention_id=f"m{number}",
        subject_id=f"film {number % 7}",
        source_id=f"critic {number % 5}",
        text=f"text {number}",
        published_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def label(number: int, value: str) -> Label:
    return Label(mention_id=f"m{number}", label=value, labelled_at=datetime(2026, 1, 2, tzinfo=UTC))


def _run(environment: dict[str, str], output: Path, arguments: tuple[str, ...]) -> None:
    from feature_pipeline.cli import main

    os.environ.clear()
    os.environ.update(environment)
    # The server from which this was forked ignores it, as servers of its kind do.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with output.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    sys.exit(main(arguments))
