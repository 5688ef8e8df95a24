"""One contender on tables of one size, in a process of its own; the parent is ``benchmark.py``.

A rehearsal on a few rows comes first: it loads what the contender imports when it is first asked,
so that the measured joins differ in the join alone. The first of them tells the memory, since
later ones find what their forerunners left allocated.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Cost, measured
from benchmarks.offline_store.contenders import CONTENDERS, Contender
from benchmarks.offline_store.tables import Tables

PATIENCE_SECONDS = 30.0
"""After so long no warm join is repeated; one is always made."""


@dataclass(frozen=True)
class Trial:
    """What a contender took."""

    ready_seconds: float
    """To load the libraries, open the tables and rehearse."""
    cold: Cost
    """The first join over the tables."""
    warm_seconds: list[float]
    """Each further join in the same process."""


def run_trial(
    contender: Contender, tables: Tables, rehearsal: Tables, repeats: int
) -> tuple[Trial, pa.Table]:
    """Measure a contender; return what it took and its last answer."""
    begin = time.perf_counter()
    contender.open(rehearsal)(read_labels(rehearsal))
    join = contender.open(tables)
    ready_seconds = time.perf_counter() - begin
    labels = read_labels(tables)
    answer, cold = measured(lambda: join(labels))
    warm: list[float] = []
    while not warm or (len(warm) < repeats and sum(warm) < PATIENCE_SECONDS):
        del answer  # or two of them would stand in memory
        answer, cost = measured(lambda: join(labels))
        warm.append(cost.seconds)
    return Trial(ready_seconds, cold, warm), answer


def read_labels(tables: Tables) -> pd.DataFrame:
    """Return the label rows as pandas holds them by default: objects, and nanoseconds."""
    labels = pd.read_parquet(tables.labels)
    labels["event_timestamp"] = labels["event_timestamp"].dt.as_unit("ns")
    return labels


def main() -> None:
    """Run one trial, write its cost as JSON and its answer as Parquet."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline_store.trial")
    parser.add_argument("cost_file", type=Path)
    parser.add_argument("answer_file", type=Path)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("tables", type=Path)
    parser.add_argument("rehearsal", type=Path)
    parser.add_argument("repeats", type=int)
    options = parser.parse_args()
    trial, answer = run_trial(
        CONTENDERS[options.contender],
        Tables(options.tables),
        Tables(options.rehearsal),
        options.repeats,
    )
    pq.write_table(answer, options.answer_file)
    options.cost_file.write_text(json.dumps(asdict(trial)))


if __name__ == "__main__":
    main()
