"""Stream = batch = online = historical, on random streams that crash anywhere.

``python -m tests.features.parity`` (``make test-parity``) prints how many values were compared.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pandas as pd
import polars as pl

from feature_pipeline.definition.records import KnownEvent, KnownLabel, KnownMention
from feature_pipeline.definition.transform import (
    EventTables,
    Tables,
    empty_states,
    transform,
)
from feature_pipeline.eventlog.memory import MemoryEventLog
from feature_pipeline.quality.metrics import QualityMetrics
from feature_pipeline.quality.stream_watch import StreamWatch
from feature_pipeline.store.feature_repository import apply_task
from feature_pipeline.stream.metrics import StreamMetrics
from feature_pipeline.stream.patience import Patience
from feature_pipeline.stream.writer import StoreWriter
from shared.events import Label, Mention
from shared.feature_store import open_feature_store
from shared.features import KNOWN_AT, ROLES, Role, activity_view, join_key
from shared.logs import configure_logs
from shared.places import Places
from tests.features.conftest import START, TurnableClock, small_task
from tests.features.fragile_worker import CrashError, Fragile, FragileTables, FragileViews, Worker

TASK = small_task()
KEYS: dict[Role, list[str]] = {
    "subject": ["heat", "alien", "brazil", "never seen"],
    "source": ["ann", "bob", "heat", "never seen"],
}
_SETTLED = timedelta(minutes=25)
"""After so long without an event every window is empty."""
_WHEN_TOLD = timedelta(days=1)
"""No commit is due by itself: when one happens is drawn."""


@dataclass
class Comparison:
    """How many values were held against each other, and which differ."""

    values: int = 0
    mismatches: int = 0
    first: str = ""

    def hold(self, what: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        """Compare two rows, value by value."""
        for name in found.keys() | wanted.keys():
            self.values += 1
            if name not in found or name not in wanted or found[name] != wanted[name]:
                self.mismatches += 1
                told = f"{what}, {name}: {found.get(name)!r}, not {wanted.get(name)!r}"
                self.first = self.first or told


class ParityRun:
    """One random stream through real Delta tables and a real Feast online store."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a simulation, no secret
        self._clock = TurnableClock()
        self._log = MemoryEventLog(partitions=2, clock=self._clock)
        places = Places.embedded(folder)
        self._store = open_feature_store(places)
        self._fragile = Fragile()
        self._tables = FragileTables(places.offline_store, self._fragile)
        apply_task(TASK, self._store, self._tables)
        self._workers = [
            Worker(TASK, self._log, partition, self._open_writer)
            for partition in range(self._log.partitions)
        ]
        self._served: dict[datetime, dict[Role, list[dict[str, Any]]]] = {}

    def run(self, phases: int, events: int) -> Comparison:
        """Stream in phases, look at the online store after each, and compare at the end.

        Args:
            phases: how often the stream catches up and what is served is looked at.
            events: how many events come in a phase.
        """
        for phase in range(phases):
            self._post(events)
            if phase == phases - 1:
                self._clock.now += _SETTLED
            # Events of one moment are known microseconds apart: the log runs ahead of the clock.
            self._clock.turn(seconds=1)
            self._log.heartbeat()
            for worker in self._workers:
                self._catch_up(worker)
            self._served[self._clock.now] = {role: self._online(role) for role in ROLES}
        whole = self._batch()
        compared = Comparison()
        self._compare_offline(compared, whole)
        self._compare_online(compared, whole)
        self._compare_historical(compared)
        return compared

    def _open_writer(self) -> StoreWriter:
        """Return what a process writes with that was just started."""
        metrics = StreamMetrics()
        return StoreWriter(
            self._tables,
            FragileViews(self._store, self._fragile),
            metrics=metrics,
            watch=StreamWatch(TASK, QualityMetrics(metrics.registry)),
            patience=Patience((), timedelta(seconds=1), Event()),
            commit_after=_WHEN_TOLD,
        )

    def _post(self, count: int) -> None:
        """Append mentions and labels: late, posted twice, corrected."""
        pick = self._random
        while count > 0:
            self._clock.turn(seconds=pick.choice([0, 1, 1, 9, 10, 61]))
            size = min(count, pick.randint(1, 20))
            count -= size
            self._log.append([self._event(pick.randint(0, 400)) for _ in range(size)])

    def _event(self, number: int) -> Mention | Label:
        pick = self._random
        if pick.random() < 0.4:
            return Label(mention_id=f"m{number}", label=pick.choice(TASK.labels), labelled_at=START)
        return Mention(
            mention_id=f"m{number}" if pick.random() < 0.5 else f"n{pick.random()}",
            subject_id=pick.choice(KEYS["subject"][:-1]),
            source_id=pick.choice(KEYS["source"][:-1]),
            text=f"NOT fine &amp; number {number}! http://x.io/{number}",
            published_at=START - timedelta(days=pick.randint(0, 300)),
        )

    def _catch_up(self, worker: Worker) -> None:
        """Read to the end of the log, in batches of any size, with crashes at any write."""
        pick, more, crashes = self._random, True, 2
        while more:
            if crashes and pick.random() < 0.5:
                crashes -= 1
                self._fragile.left = pick.randint(0, 7)
            try:
                more = worker.step(pick.choice([3, 20, 60]))
                if pick.random() < 0.4:
                    worker.save()
                elif not more or pick.random() < 0.3:
                    worker.commit()
            except CrashError:
                worker.crash()
                more = True
                continue
            if pick.random() < 0.1:
                worker.crash()
                more = True
        self._fragile.left = None

    def _online(self, role: Role) -> list[dict[str, Any]]:
        """Return what is served now: a row per key, with the time of its row."""
        view = self._store.get_feature_view(activity_view(role))
        found = self._store.get_online_features(
            features=[f"{view.name}:{field.name}" for field in view.features],
            entity_rows=[{join_key(role): key} for key in KEYS[role]],
        ).to_dict(include_event_timestamps=True)
        names = [field.name for field in view.features]
        return [
            {
                join_key(role): key,
                KNOWN_AT: found[f"{names[0]}__ts"][index],
                **{name: found[name][index] for name in names},
            }
            for index, key in enumerate(KEYS[role])
        ]

    def _batch(self) -> Tables:
        """Compute everything in one call, from the log's events."""
        events: dict[datetime, KnownEvent] = {}
        for partition in range(self._log.partitions):
            for entry in self._log.read(partition, 0, 1_000_000).entries:
                events[entry.event.known_at] = entry.event
        known = EventTables.of(
            [event for event in events.values() if isinstance(event, KnownMention)],
            [event for event in events.values() if isinstance(event, KnownLabel)],
        )
        states = empty_states(TASK)
        return transform(TASK, states, dict.fromkeys(ROLES, known), self._clock.now)[1]

    def _compare_offline(self, compared: Comparison, whole: Tables) -> None:
        """The tables that the stream wrote hold the rows of the batch, each once."""
        for view, rows in whole.items():
            order = [rows.columns[0] if view.endswith("_activity") else "mention_id", KNOWN_AT]
            wanted = rows.sort(order)
            path = self._tables.path(view)
            found = pl.read_delta(path).select(rows.columns).sort(order)
            compared.hold(f"{view}, rows", {"": found.height}, {"": wanted.height})
            for one, other in zip(found.iter_rows(named=True), wanted.iter_rows(named=True)):  # noqa: B905 - heights are compared above
                compared.hold(f"{view}, stream and batch", one, other)

    def _compare_online(self, compared: Comparison, whole: Tables) -> None:
        """Online, each key has the last row that the batch computes."""
        for role in ROLES:
            table, key = whole[activity_view(role)], join_key(role)
            for row in self._served[self._clock.now][role]:
                last = table.filter(pl.col(key) == row[key]).tail(1)
                wanted = last.to_dicts()[0] if last.height else _nothing(row, key)
                compared.hold(
                    f"{row[key]}, online and batch", _comparable(row), _comparable(wanted)
                )

    def _compare_historical(self, compared: Comparison) -> None:
        """Features as of a moment, which training reads, are what was served at that moment."""
        for role in ROLES:
            view = self._store.get_feature_view(activity_view(role))
            assert view.ttl is not None
            key, names = join_key(role), [field.name for field in view.features]
            served = [(moment, row) for moment, rows in self._served.items() for row in rows[role]]
            entities = pd.DataFrame(
                {
                    key: [row[key] for _, row in served],
                    KNOWN_AT: [moment for moment, _ in served],
                    "number": range(len(served)),
                }
            )
            found = self._store.get_historical_features(
                entity_df=entities, features=[f"{view.name}:{name}" for name in names]
            ).to_arrow()
            history = pl.DataFrame(pl.from_arrow(found)).sort("number").to_dicts()
            for (moment, row), then in zip(served, history, strict=True):
                # Serving holds an online row that is older than the view allows for missing.
                known = row[names[0]] is not None
                stale = known and _utc(row[KNOWN_AT]) < moment - view.ttl
                wanted = _nothing(row, key) if stale else row
                compared.hold(
                    f"{row[key]}, historical and served at {moment}",
                    {name: _comparable(then)[name] for name in names},
                    {name: _comparable(wanted)[name] for name in names},
                )


def _nothing(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value if name == key else None for name, value in row.items()}


def _comparable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in what both sides can tell: Feast keeps times of features in whole seconds."""
    plain = dict(row)
    for name in ("first_seen", "last_seen"):
        if isinstance(plain.get(name), datetime):
            plain[name] = _utc(plain[name]).replace(microsecond=0)
    if plain.get("mentions_60s") is None:
        plain[KNOWN_AT] = None
    elif isinstance(plain.get(KNOWN_AT), int):
        plain[KNOWN_AT] = plain[KNOWN_AT]
    elif KNOWN_AT in plain:
        plain[KNOWN_AT] = int(_utc(plain[KNOWN_AT]).timestamp())
    return plain


def _utc(moment: datetime | int) -> datetime:
    if isinstance(moment, int):
        return datetime.fromtimestamp(moment, START.tzinfo)
    return moment if moment.tzinfo else moment.replace(tzinfo=START.tzinfo)


def main() -> int:
    """Run streams until enough values were compared; return 1 when any differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.features.parity", description=__doc__)
    parser.add_argument("--values", type=int, default=100_000, help="how many to compare at least")
    parser.add_argument("--seed", type=int, default=1, help="of the first stream")
    options = parser.parse_args()
    configure_logs("parity", log_format="human", level="warning")
    values = mismatches = streams = 0
    while values < options.values and not mismatches:
        with tempfile.TemporaryDirectory(prefix="parity-") as folder:
            found = ParityRun(options.seed + streams, Path(folder)).run(phases=5, events=250)
        streams += 1
        values += found.values
        mismatches += found.mismatches
        print(f"stream {streams}: {found.values:,} values {found.first}", flush=True)  # noqa: T201 - the answer
    print(f"PARITY streams={streams} values={values} mismatches={mismatches}")  # noqa: T201 - the answer
    return 1 if mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
