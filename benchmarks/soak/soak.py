"""The soak: load in turns of short and mixed texts, while champions change and the store fails."""

from __future__ import annotations

import http.client
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.command import Report
from benchmarks.serving.contenders import CONTENDERS
from benchmarks.serving.load import Load, put_under
from benchmarks.serving.materials import Materials, Variant, model_name, read_questions
from benchmarks.serving.recipe import Recipe, ensure_materials
from benchmarks.serving.server import Server, free_port, question_body, running
from benchmarks.serving.texts import KINDS
from benchmarks.soak.disturbances import Outages, Repeatedly, Swaps
from benchmarks.soak.slope import Slope, memory_slope
from feature_pipeline.store.feature_repository import apply_task
from feature_pipeline.store.offline_tables import OfflineTables
from shared.feature_store import open_feature_store
from shared.places import Places
from shared.task import load_task

_WARM_UP_SHARE = 0.2
"""Of the samples, that the slope leaves out: caches and pools fill at the beginning."""
_SAMPLE_SECONDS = 0.5
_BLOCKS = 20


@dataclass(frozen=True)
class SoakPlan:
    """What to do to a server."""

    recipe: Recipe
    materials: Path | None
    """Where what is served lies from an earlier run, or is to be kept for a later one."""
    variant: Variant
    minutes: float
    connections: int
    rate: float
    """Questions a second."""
    window_seconds: float
    """Of each turn of load, with connections of its own."""
    swap_seconds: float
    outage_every_seconds: float
    outage_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values, without folders of this machine."""
        return {**asdict(self), "recipe": self.recipe.as_dict(), "materials": None}


@dataclass(frozen=True)
class Soaked:
    """What became of the server."""

    minutes: float
    loads: list[Load]
    swaps: int
    """Moves of the alias."""
    swapped: float
    """Versions that the server put into service."""
    outages: int
    degraded: float
    """Answers that the server gave without features."""
    start_bytes: int
    end_bytes: int
    slope: Slope

    @property
    def failed(self) -> int:
        """Questions that got no answer, or another status than 200 and 429."""
        return sum(load.failed for load in self.loads)


def run_soak(plan: SoakPlan, folder: Path, report: Report) -> Soaked:
    """Run a server for as long as planned; ``report`` hears what goes on."""
    materials = Materials(plan.materials or folder / "materials")
    report("making the models, the feature store and the registry")
    ensure_materials(materials, plan.recipe, folder)
    home = folder / "home"
    _copy_home(materials, plan.recipe, home)
    swaps = Swaps(home, model_name(plan.variant))
    outages = Outages(home, plan.outage_seconds)
    contender = CONTENDERS["joined"]
    port = free_port()
    launch = contender.launch(materials, plan.variant, port)
    launch.environment["FTI_HOME"] = str(home)
    first = question_body(read_questions(materials.questions("short"))[0], contender.fields)
    samples: list[tuple[float, int]] = []
    loads: list[Load] = []
    with running(launch, port, folder, contender.path, first) as server:
        begin = time.monotonic()
        end = begin + 60 * plan.minutes
        with (
            Repeatedly(lambda: _sample(server, samples), _SAMPLE_SECONDS),
            Repeatedly(swaps.swap, plan.swap_seconds),
            Repeatedly(outages.break_down, plan.outage_every_seconds),
        ):
            while (left := end - time.monotonic()) > 0:
                seconds = min(left, plan.window_seconds)
                loads.append(
                    _load(plan, materials, folder, port=port, turn=len(loads), seconds=seconds)
                )
                report(_told(loads[-1], samples))
        minutes = (time.monotonic() - begin) / 60
        swapped = _metric(port, "fti_inference_model_swaps_total")
        degraded = _metric(port, "fti_inference_degraded_answers_total")
    kept = samples[int(_WARM_UP_SHARE * len(samples)) :]
    moments, resident = zip(*kept, strict=True)
    return Soaked(
        minutes=minutes,
        loads=loads,
        swaps=swaps.count,
        swapped=swapped,
        outages=outages.count,
        degraded=degraded,
        start_bytes=resident[0],
        end_bytes=resident[-1],
        slope=memory_slope(moments, resident, blocks=_BLOCKS),
    )


def _copy_home(materials: Materials, recipe: Recipe, home: Path) -> None:
    """Copy the state, so that what the server writes stays out of the materials.

    The feature registry holds whole paths: applied again, it names the copy's tables, to which the
    prediction log is appended. Model files are read from the materials, and only read.
    """
    shutil.copytree(materials.home, home)
    places = Places.embedded(home)
    apply_task(
        load_task(recipe.task), open_feature_store(places), OfflineTables(places.offline_store)
    )


def _load(
    plan: SoakPlan, materials: Materials, folder: Path, *, port: int, turn: int, seconds: float
) -> Load:
    spec = CONTENDERS["joined"].load(
        materials,
        plan.variant,
        KINDS[turn % len(KINDS)],
        port=port,
        connections=plan.connections,
        rate=plan.rate,
        seconds=seconds,
        warm_up_seconds=0.0,
        seed=plan.recipe.seed + turn,
    )
    return put_under(spec, folder)


def _sample(server: Server, samples: list[tuple[float, int]]) -> None:
    samples.append((time.monotonic(), server.resident_bytes()))


def _told(load: Load, samples: list[tuple[float, int]]) -> str:
    return (
        f"{load.per_second:.0f}/s, p99 {load.p99_ms:.0f} ms, {load.refused} refused,"
        f" {load.failed} failed, {samples[-1][1] / 2**20:.1f} MiB"
    )


def _metric(port: int, name: str) -> float:
    """Return the sum of a metric's samples."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    finally:
        connection.close()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))
