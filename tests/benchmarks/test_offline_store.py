"""The benchmark of the offline store, run small, tells the truth about each contender."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.offline_store.contenders import CONTENDERS
from benchmarks.offline_store.reference import judge, right_answer
from benchmarks.offline_store.tables import FEATURES, VIEWS, make_tables

ROOT = Path(__file__).parents[2]
ROWS = 2_000


@dataclass(frozen=True)
class Run:
    """What a run of the command left behind."""

    code: int
    lines: list[str]
    results: dict[str, Any]

    def figures(self, contender: str) -> dict[str, Any]:
        """Return the figures of a contender that is done."""
        (result,) = (one for one in self.results["results"] if one["contender"] == contender)
        assert result["outcome"] == "done"
        figures: dict[str, Any] = result["figures"]
        return figures


def run(folder: Path, *options: str) -> Run:
    output = folder / "results.json"
    command = [sys.executable, "-m", "benchmarks.offline_store", "--output", str(output)]
    command += options
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return Run(done.returncode, done.stdout.splitlines(), json.loads(output.read_bytes()))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("benchmark")
    return run(folder, "--sizes", str(ROWS), "--repeats", "1")


@pytest.mark.parametrize("contender", ["bare", "parquet", "delta"])
def test_every_row_comes_back_right(small: Run, contender: str) -> None:
    """Bare Polars and this store return each label row once, in order, with the right features."""
    expected = {"returned": ROWS, "lost": 0, "wrong": 0, "in_order": True}
    assert small.figures(contender)["verdict"] == expected
    assert small.code == 0


def test_lost_rows_of_a_peer_are_reported(small: Run) -> None:
    """Feast's Dask store loses rows: the table says so, and the run does not fail for it."""
    verdict = small.figures("dask")["verdict"]
    assert verdict["returned"] + verdict["lost"] == ROWS
    assert 0 < verdict["lost"] <= verdict["wrong"]
    (line,) = (line for line in small.lines if "Dask store" in line)
    assert f"{verdict['lost']:,}" in line.split()


def test_duckdb_takes_part(small: Run) -> None:
    """Feast's DuckDB store, where it is installed, answers right and stands in the ratios."""
    if not CONTENDERS["duckdb"].installed:
        pytest.skip("requirements/bench.txt is not installed: no DuckDB store to compare with")
    assert small.figures("duckdb")["verdict"]["wrong"] == 0
    assert small.results["ratios"]["duckdb_speedup"] > 0


def test_last_line_tells_the_ratios(small: Run) -> None:
    """The last line holds the ratios of the results file, of the largest size that was run."""
    word, *pairs = small.lines[-1].split()
    ratios = dict(pair.split("=") for pair in pairs)
    assert word == "RATIO"
    assert ratios["rows"] == str(ROWS)
    for name in ("time", "memory", "delta_time"):
        assert float(ratios[name]) == pytest.approx(small.results["ratios"][name], abs=0.01)


def test_results_say_where_they_were_made(small: Run) -> None:
    """Date, hardware and versions stand in the file, and the figures hold together."""
    environment = small.results["environment"]
    assert environment["hardware"]["cores"] >= 1
    assert {"polars", "feast", "duckdb", "python"} <= set(environment["versions"])
    bare = small.figures("bare")
    assert 0 < bare["above_bytes"] < bare["peak_bytes"] < environment["hardware"]["memory_bytes"]


@pytest.mark.parametrize(("contender", "code"), [("bare", 1), ("dask", 0)])
def test_only_a_peer_may_pass_a_limit(tmp_path: Path, contender: str, code: int) -> None:
    """What passes the time limit is reported; it fails the run only if it is no peer."""
    options = ["--sizes", "200", "--time-limit", "0.01", "--contenders", contender]
    done = run(tmp_path, *options)
    assert done.code == code
    assert done.results["results"][0]["outcome"] == "passed 0.01 s"
    assert done.lines[-1].startswith("RATIO rows=200 time=n/a")
    assert any(line.startswith("UNEXPECTED") for line in done.lines) is bool(code)


def test_answers_are_judged_by_row(tmp_path: Path) -> None:
    """A lost row, one that came twice, a wrong and a forgotten feature are each one wrong row."""
    right = right_answer(make_tables(tmp_path, 300, seed=1, skew=0.8))
    feature = "source_activity__mentions_1h"
    number = pl.int_range(pl.len())
    known = right[feature].is_not_null().arg_true()
    answer = right.with_columns(
        pl.when(number == known[0])
        .then(pl.col(feature) + 1)
        .when(number != known[1])
        .then(feature)
        .alias(feature)
    )
    rows = [row for row in range(300) if row != known[2]]
    answer = answer[[*rows, known[3]]]
    answer.write_parquet(tmp_path / "answer.parquet")
    verdict = judge(right, tmp_path / "answer.parquet")
    assert (verdict.returned, verdict.lost, verdict.wrong) == (300, 1, 4)
    assert not verdict.in_order


def test_right_answer_is_that_of_the_definition(tmp_path: Path) -> None:
    """The reference agrees, row by row, with a reading of all rows that could match."""
    tables = make_tables(tmp_path, 300, seed=2, skew=1)
    right = right_answer(tables)
    matched = 0
    for view in VIEWS:
        history = pl.read_parquet(tables.parquet(view)).rows(named=True)
        for row in right.rows(named=True):
            at = row["event_timestamp"]
            candidates = [
                one
                for one in history
                if one[view.key] == row[view.key]
                and one["event_timestamp"] <= at
                and (not view.ttl or at - one["event_timestamp"] <= view.ttl)
            ]
            best = max(
                candidates, key=lambda one: (one["event_timestamp"], one["created"]), default=None
            )
            matched += best is not None
            found = [row[f"{view.name}__{name}"] for name in FEATURES]
            assert found == [None if best is None else best[name] for name in FEATURES]
    assert matched > 50
