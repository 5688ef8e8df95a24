"""The benchmark of serving and the soak, run small, tell the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.serving.ceiling import Bare, Ceiling
from benchmarks.serving.contenders import CONTENDERS
from benchmarks.serving.load import Load
from benchmarks.serving.materials import Materials
from benchmarks.serving.plan import Loop
from benchmarks.serving.recipe import Recipe
from benchmarks.serving.result import Point, Result
from benchmarks.serving.summary import ratios
from benchmarks.soak.slope import memory_slope

ROOT = Path(__file__).parents[2]


def test_slope_tells_growth_from_noise() -> None:
    """A leak of 100 KiB a minute is found within its interval; a level with waves is flat."""
    seconds = [float(second) for second in range(600)]
    wave = [((second % 70) - 35) * 20_000 for second in range(600)]
    level = memory_slope(seconds, [10**8 + each for each in wave], blocks=20)
    leak = memory_slope(seconds, [int(10**8 + 1024 * 100 * s / 60) for s in seconds], blocks=20)
    assert level.flat
    assert not leak.flat
    assert leak.low <= 100 <= leak.high
    assert leak.kib_per_minute == pytest.approx(100, abs=1)


def result(
    contender: str,
    *,
    closed: dict[int, float],
    p99: float,
    ceiling: float = 100.0,
    answered: int = 100,
) -> Result:
    """Return a result with texts a second by connections, and an open loop."""

    def point(loop: Loop, connections: int, per_second: float) -> Point:
        load = Load(
            asked=100,
            answered=answered,
            refused=0,
            failed=100 - answered,
            wrong=0,
            degraded=0,
            elapsed_seconds=1.0,
            per_second=per_second,
            p50_ms=12.0,
            p95_ms=p99,
            p99_ms=p99,
            generator_cpu=0.1,
        )
        return Point(connections, loop, None, load, 1.0)

    points = [point("closed", number, per_second) for number, per_second in closed.items()]
    bare = Bare([Ceiling(1, 1, ceiling / 2, 11.0, 20.0), Ceiling(2, 1, ceiling, 15.0, 30.0)])
    found = [*points, point("open", 32, 60.0)]
    return Result("int8", "short", CONTENDERS[contender], "done", bare, 0, found)


def test_ratios_speak_of_the_worst_points() -> None:
    """Each ratio is over the ceiling of its moment, and of the points where it is worst."""
    found = ratios(
        [
            result("joined", closed={1: 50.0, 32: 90.0}, p99=30.0),
            result("unjoined", closed={1: 50.0, 32: 49.5}, p99=20.0, ceiling=50.0),
            result("fastapi", closed={1: 40.0, 32: 80.0}, p99=45.0),
            result("litserve", closed={1: 62.5, 32: 10.0}, p99=5.0, answered=90),
        ]
    )
    assert found["ceiling"] == pytest.approx(0.9)
    assert found["best_peer"] == pytest.approx(50 / 62.5)
    assert found["best_peer_p99"] == pytest.approx(45 / 30)
    assert found["join_cost"] == pytest.approx(0.1)
    assert found["added_p50_ms"] == pytest.approx(1.0)
    assert found["best_peer_unjoined"] == pytest.approx(0.99 / 0.8)
    assert found["peers"] == 2


def test_ratios_do_not_leave_out_what_broke() -> None:
    """A cell without a figure of this server makes the ratio unknown, not better."""
    whole = [
        result("joined", closed={1: 50.0, 32: 90.0}, p99=30.0),
        result("fastapi", closed={1: 40.0, 32: 80.0}, p99=45.0),
        result("litserve", closed={1: 40.0, 32: 80.0}, p99=45.0),
    ]
    other = [
        replace(whole[0], kind="mixed", outcome="broke: it ended", points=[]),
        replace(whole[1], kind="mixed"),
        replace(whole[2], kind="mixed", outcome="broke: it ended", points=[]),
    ]
    assert ratios(whole)["ceiling"] == pytest.approx(0.9)
    found = ratios([*whole, *other])
    assert found.pop("peers") == 1
    assert set(found.values()) == {None}
    found = ratios([*whole, replace(whole[0], kind="mixed")])
    assert found["peers"] == 0
    assert found["best_peer"] is None
    assert found["ceiling"] == pytest.approx(0.9)


def options(materials: Materials, recipe: Recipe) -> list[str]:
    """Return the options of a run with materials that are there."""
    told = {
        "--materials": os.path.relpath(materials.folder, ROOT),
        "--task": recipe.task,
        "--count": recipe.count,
        "--max-length": recipe.max_length,
        "--seed": recipe.seed,
    }
    return [str(each) for pair in told.items() for each in pair]


def run(module: str, *options: str, **environment: str) -> tuple[int, list[str], str]:
    command = [sys.executable, "-m", module, *options]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_servers_are_compared_with_bare_loops(
    materials: Materials, recipe: Recipe, tmp_path: Path
) -> None:
    """Each server answers right under both loops; ratios and results hold together."""
    output = tmp_path / "results.json"
    code, lines, said = run(
        "benchmarks.serving",
        *options(materials, recipe),
        *("--seconds", "0.6", "--connections", "32", "--texts", "short"),
        *("--variants", "fp32", "--contenders", "joined", "unjoined", "fastapi"),
        *("--output", str(output)),
        # On a machine that stalls, answers without features would be told as unexpected.
        *("--settings", "FTI_INFERENCE_FEATURE_TIMEOUT_SECONDS=60"),
        FTI_INFERENCE_MODEL="of_another_system",
        FTI_MLFLOW_URI="http://127.0.0.1:9",
    )
    assert code == 0, said + "\n".join(lines)
    results = json.loads(output.read_bytes())
    assert [one["contender"] for one in results["results"]] == ["joined", "unjoined", "fastapi"]
    for result in results["results"]:
        assert [(p["loop"], p["connections"]) for p in result["points"]] == [
            *(("closed", 32), ("open", 32))
        ]
        for point in result["points"]:
            assert point["load"]["answered"] > 0
            assert {point["load"][name] for name in ("failed", "wrong", "degraded")} == {0}
            assert point["server_cpu"] > 0
    word, *pairs = lines[-1].split()
    assert word == "RATIO"
    told = dict(pair.split("=") for pair in pairs)
    assert float(told["ceiling"]) == pytest.approx(results["ratios"]["ceiling"], abs=0.01)
    assert results["plan"]["materials"] is None


def test_soak_survives_swaps_and_outages(
    materials: Materials, recipe: Recipe, tmp_path: Path
) -> None:
    """Versions change and the online store goes away under load; no question fails for it."""
    output = tmp_path / "soak.json"
    tables = sorted((materials.home / "offline").rglob("*"))
    code, lines, said = run(
        "benchmarks.soak",
        *options(materials, recipe),
        *("--minutes", "0.3", "--variant", "fp32", "--rate", "30"),
        *("--window-seconds", "6", "--swap-seconds", "3", "--outage-every-seconds", "4"),
        *("--outage-seconds", "1.5", "--max-slope", "1e9", "--output", str(output)),
    )
    assert code == 0, said + "\n".join(lines)
    result = json.loads(output.read_bytes())["result"]
    assert result["swapped"] >= 2
    assert result["outages"] >= 1
    assert result["degraded"] > 0
    assert sorted((materials.home / "offline").rglob("*")) == tables, "it wrote into the materials"
    assert lines[-1].startswith("SLOPE kib_per_minute=")
