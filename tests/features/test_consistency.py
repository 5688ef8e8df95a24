"""The consistency meter: agreement, lag and every kind of disagreement, on a real feature store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from feast import FeatureStore

from feature_pipeline import cli
from feature_pipeline.bootstrap.history import backfill
from feature_pipeline.bootstrap.upkeep import consistency
from feature_pipeline.consistency.meter import ConsistencyReport, FeatureAgreement, measure
from feature_pipeline.progress import NoProgress
from feature_pipeline.store.offline_tables import OfflineTables
from inference_pipeline.prediction_log.table import DeltaPredictionTable
from shared.feature_store import FeatureService, open_feature_store, read_feature_service
from shared.features import KNOWN_AT
from shared.places import Places
from shared.predictions import PREDICTION_LOG, prediction_schema
from tests.features.test_backfill import NOW, ROWS, pipeline

AT = NOW + timedelta(seconds=20)
BOUND = timedelta(seconds=10)
LATENCY = timedelta(milliseconds=200)
MENTIONS = "subject_activity__mentions_60s"


@dataclass
class Films:
    """A store with history of films, and a service that answers from it and logs."""

    home: Path
    store: FeatureStore
    service: FeatureService
    answered: int = 0

    def serve(
        self, subject: str, source: str = "critic 0", *, at: datetime = AT, **changes: Any
    ) -> None:
        """Answer from the online store and log what was served, but for some changed columns."""
        found = self.store.get_online_features(
            features=self.store.get_feature_service(self.service.name),
            entity_rows=[{"subject_id": subject, "source_id": source}],
            full_feature_names=True,
        ).to_dict()
        names = [feature.column for feature in self.service.features]
        values = [found[name][0] for name in names]
        views = list(self.service.ttl)
        row = {
            KNOWN_AT: at,
            "prediction_id": f"p{self.answered}",
            "subject_id": subject,
            "source_id": source,
            "feature_names": names,
            "feature_values": values,
            "view_names": views,
            "view_statuses": ["present"] * len(views),
            "degraded": False,
            "latency_seconds": LATENCY.total_seconds(),
            **changes,
        }
        self.answered += 1
        rows = pa.Table.from_pylist([row], schema=prediction_schema(PREDICTION_LOG))
        DeltaPredictionTable(self.store, PREDICTION_LOG).append(rows, {})

    def measure(self, bound: timedelta = BOUND, limit: int = 100) -> ConsistencyReport:
        return measure(self.store, NOW, AT + timedelta(minutes=1), limit, bound)

    def last_row(self, subject: str) -> pl.DataFrame:
        """Return the last row of a subject in history."""
        rows = pl.read_delta(self.tables.path("subject_activity")).sort(KNOWN_AT)
        return rows.filter(pl.col("subject_id") == subject).tail(1)

    def learn(self, subject: str, known_at: datetime) -> None:
        """Add a row to history that does not reach the online store."""
        row = self.last_row(subject).with_columns(
            pl.lit(known_at).cast(pl.Datetime("us", "UTC")).alias(KNOWN_AT),
            pl.col("mentions_60s") + 1,
        )
        self.tables.append("subject_activity", {0: (row, known_at)})

    @property
    def tables(self) -> OfflineTables:
        return OfflineTables(Places.embedded(self.home).offline_store)


@pytest.fixture
def films(tmp_path: Path) -> Films:
    history = tmp_path / "history.csv"
    history.write_text(ROWS)
    backfill(pipeline(tmp_path), history, NOW, NoProgress())
    store = open_feature_store(Places.embedded(tmp_path / "home"))
    return Films(tmp_path / "home", store, read_feature_service(store, "films"))


def of(report: ConsistencyReport, name: str) -> FeatureAgreement:
    return next(feature for feature in report.features if feature.feature == name)


def test_what_was_served_is_what_history_has(films: Films) -> None:
    """Known entities and unknown ones agree in every feature; the limit takes the newest."""
    for number in range(3):
        films.serve(f"film {number}", f"critic {number % 2}")
    films.serve("nobody", "nobody", at=AT + timedelta(seconds=1))
    report = films.measure()
    assert (report.predictions, report.compared, report.mismatch_rate) == (4, 4 * 6, 0)
    assert {feature.equal for feature in report.features} == {4}
    assert of(report, MENTIONS).examples == []
    assert films.measure(limit=1).compared == 6


def test_corrupt_online_value_is_found_by_name(films: Films) -> None:
    """A value that history does not have is told with its feature, entity and both values."""
    right = films.last_row("film 1")
    wrong = right.with_columns(
        pl.col("mentions_60s") + 7, pl.col(KNOWN_AT) + timedelta(microseconds=1)
    )
    films.store.write_to_online_store("subject_activity", df=wrong.to_pandas())
    films.serve("film 0")
    films.serve("film 1")
    report = films.measure()
    found = of(report, MENTIONS)
    assert (found.equal, found.mismatched, found.mismatch_rate) == (1, 1, 0.5)
    expected = float(right["mentions_60s"].item())
    (example,) = found.examples
    assert (example.entity, example.served, example.expected) == ("film 1", expected + 7, expected)
    assert sum(feature.mismatched for feature in report.features) == 1


def test_row_on_its_way_is_behind_and_not_a_mismatch(films: Films) -> None:
    """The value before a newer row is lawful within the bound, and its lag is told."""
    films.serve("film 1")
    films.learn("film 1", AT - LATENCY - timedelta(seconds=3))
    found = of(films.measure(), MENTIONS)
    assert (found.behind, found.mismatched, found.max_lag_seconds) == (1, 0, 3)
    films.learn("film 1", AT - LATENCY - timedelta(seconds=2))
    assert of(films.measure(), MENTIONS).max_lag_seconds == 3
    assert of(films.measure(bound=timedelta(seconds=1)), MENTIONS).mismatched == 1


def test_row_that_came_while_it_was_answered_is_no_lag(films: Films) -> None:
    """The store was read between question and answer, so either value is right."""
    films.serve("film 1")
    films.learn("film 1", AT - LATENCY / 2)
    assert of(films.measure(), MENTIONS).equal == 1


def test_first_row_of_an_entity_may_be_on_its_way(films: Films) -> None:
    """Nothing served is lawful for a moment after the first row was known, and missing later."""
    films.serve("film 9")
    row = films.last_row("film 1").with_columns(
        pl.lit("film 9").alias("subject_id"),
        pl.lit(AT - timedelta(seconds=4)).cast(pl.Datetime("us", "UTC")).alias(KNOWN_AT),
    )
    films.tables.append("subject_activity", {0: (row, AT)})
    found = of(films.measure(), MENTIONS)
    assert (found.behind, found.missing) == (1, 0)
    assert of(films.measure(bound=timedelta(seconds=2)), MENTIONS).missing == 1


def test_missing_and_unavailable_are_told_apart(films: Films) -> None:
    """Nothing served where history has a value is missing; a view that failed is left out."""
    nothing = [None] * 6
    films.serve("film 0", feature_values=nothing, view_statuses=["missing", "missing"])
    films.serve("film 0", feature_values=nothing, view_statuses=["unavailable", "unavailable"])
    report = films.measure()
    assert (report.predictions, report.unavailable) == (2, 2)
    assert {feature.missing for feature in report.features} == {1}
    assert {feature.compared for feature in report.features} == {1}


def test_models_of_other_features_are_measured_together(films: Films) -> None:
    """Predictions name their own features; each feature is counted where it was read."""
    films.serve("film 0")
    films.serve(
        "film 0",
        feature_names=[MENTIONS],
        feature_values=[float(films.last_row("film 0")["mentions_60s"].item())],
        view_names=["subject_activity"],
        view_statuses=["present"],
    )
    report = films.measure()
    assert of(report, MENTIONS).equal == 2
    assert of(report, "source_activity__mentions_60s").equal == 1


def test_command_prints_json_and_fails_above_the_allowed_share(
    films: Films, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and the worst feature's name tell of a mismatch; an allowed share does not."""
    monkeypatch.setenv("FTI_HOME", str(films.home))
    monkeypatch.setenv("FTI_TASK", str(films.home.parent / "films.toml"))
    monkeypatch.setenv("COLUMNS", "200")
    everything = ["consistency", "--since", "999999d"]
    assert cli.main(everything) == 0
    assert "0 predictions" in capsys.readouterr().out
    films.serve("film 0", at=NOW)
    films.serve("film 1", at=NOW, feature_values=[99.0, None, None, None, None, None])
    assert cli.main([*everything, "--json"]) == 1
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert report["compared"] == 12
    assert report["features"][0]["examples"][0]["served"] == 99.0
    assert "subject_activity" in shown.err
    assert cli.main([*everything, "--max-mismatch", "0.5"]) == 0
    assert "film 1" in capsys.readouterr().out


def test_answers_that_history_cannot_tell_of_yet_are_left_out(films: Films) -> None:
    """While rows are online and not in the tables, nobody can say what should have been served.

    They are judged when the tables are complete up to them, in all partitions.
    """
    made = pipeline(films.home.parent)
    films.serve("film 1", at=AT, feature_values=[99.0, None, None, None, None, None])

    def measured() -> tuple[datetime, int]:
        now = AT + timedelta(days=1)
        report = consistency(made, NOW, now, limit=10, bound=BOUND)
        return report.until, report.predictions

    assert measured() == (NOW, 0)
    films.learn("film 1", AT)
    assert measured() == (NOW, 0)
    row = films.last_row("film 1")
    films.tables.append("subject_activity", {1: (row, AT + timedelta(seconds=1))})
    assert measured() == (AT, 1)
