"""Who takes part: how each server is started, asked and understood."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.load import LoadSpec
from benchmarks.serving.materials import FILES, Materials, Variant, model_name
from benchmarks.serving.texts import Kind

PEER_ENVIRONMENT = Path(__file__).parents[2] / ".venv-bench"
"""The peers' packages contradict the project's pins: they live apart."""


@dataclass(frozen=True)
class Launch:
    """How a server's process is started."""

    command: list[str]
    environment: dict[str, str]


@dataclass(frozen=True)
class Contender:
    """A server of the model."""

    name: str
    title: str
    launch: Callable[[Materials, Variant, int], Launch]
    """Takes the port as its last argument."""
    path: str
    """Where it is asked."""
    fields: tuple[str, ...]
    """Of a question that it is told."""
    label_at: tuple[str | int, ...]
    """Where the label stands in its answer."""
    right: str
    """Which of the right labels hold for it: see `Question.labels`."""
    variant_at: tuple[str | int, ...] | None = None
    """Where the model file that answered stands; None where it was told which to take."""
    degraded_at: tuple[str | int, ...] | None = None
    """Where it says that it answered without features; None if it is not to read any."""
    program: Path | None = None
    """What must be installed for it; None if nothing."""
    peer: bool = True

    @property
    def installed(self) -> bool:
        """Whether it can run."""
        return self.program is None or self.program.is_file()

    def load(
        self,
        materials: Materials,
        variant: Variant,
        kind: Kind,
        *,
        port: int,
        connections: int,
        rate: float | None,
        seconds: float,
        warm_up_seconds: float,
        seed: int,
    ) -> LoadSpec:
        """Return a load as this server understands it; see `LoadSpec` for what it says."""
        return LoadSpec(
            port=port,
            path=self.path,
            fields=list(self.fields),
            label_at=list(self.label_at),
            degraded_at=None if self.degraded_at is None else list(self.degraded_at),
            questions=str(materials.questions(kind)),
            right=f"{self.right}.{variant}",
            connections=connections,
            rate=rate,
            seconds=seconds,
            warm_up_seconds=warm_up_seconds,
            seed=seed,
        )


def _this_server(features: str) -> Callable[[Materials, Variant, int], Launch]:
    def launch(materials: Materials, variant: Variant, port: int) -> Launch:
        return Launch(
            ["{python}", "-m", "inference_pipeline", "serve", "--port", str(port)],
            {
                "FTI_HOME": str(materials.home),
                "FTI_INFERENCE_MODEL": model_name(variant),
                "FTI_INFERENCE_FEATURES": features,
            },
        )

    return launch


def _fastapi(materials: Materials, variant: Variant, port: int) -> Launch:
    application = "benchmarks.serving.peers.fastapi_app:create_app"
    command = ["{python}", "-m", "uvicorn", "--factory", application, "--port", str(port)]
    return Launch(
        [*command, "--log-level", "warning"],
        _package(materials, variant) | {"BENCH_THREADS": "0"},
    )


def _fastapi_workers(materials: Materials, variant: Variant, port: int) -> Launch:
    one = _fastapi(materials, variant, port)
    workers = ["--workers", str(len(os.sched_getaffinity(0)))]
    return Launch([*one.command, *workers], one.environment | {"BENCH_THREADS": "1"})


def _litserve(materials: Materials, variant: Variant, port: int) -> Launch:
    module = "benchmarks.serving.peers.litserve_app"
    python = str(PEER_ENVIRONMENT / "bin" / "python")
    return Launch([python, "-m", module, str(port)], _package(materials, variant))


def _bentoml(materials: Materials, variant: Variant, port: int) -> Launch:
    service = "benchmarks.serving.peers.bentoml_app:Classifier"
    program = str(PEER_ENVIRONMENT / "bin" / "bentoml")
    quiet = {"BENTOML_DO_NOT_TRACK": "1", "BENTOML_HOME": str(materials.folder / "bentoml")}
    return Launch(
        [program, "serve", service, "--host", "127.0.0.1", "--port", str(port)],
        _package(materials, variant) | quiet,
    )


def _package(materials: Materials, variant: Variant) -> dict[str, str]:
    return {"BENCH_PACKAGE": str(materials.package), "BENCH_FILE": FILES[variant]}


_DEGRADED_AT = ("predictions", 0, "degraded")
_OWN = (
    ("joined", "this server", "on", "joined", _DEGRADED_AT),
    ("unjoined", "this server, no join", "off", "unknown", None),
)
_PEERS = (
    ("fastapi", "FastAPI + onnxruntime", _fastapi, None),
    ("fastapi_workers", "FastAPI, a worker a core", _fastapi_workers, None),
    ("litserve", "LitServe", _litserve, PEER_ENVIRONMENT / "bin" / "litserve"),
    ("bentoml", "BentoML", _bentoml, PEER_ENVIRONMENT / "bin" / "bentoml"),
)

CONTENDERS = {
    contender.name: contender
    for contender in (
        *(
            Contender(
                name,
                title,
                _this_server(features),
                path="/v1/predict",
                fields=("text", "subject_id", "source_id"),
                label_at=("predictions", 0, "label"),
                right=right,
                variant_at=("model", "variant"),
                degraded_at=degraded_at,
                peer=False,
            )
            for name, title, features, right, degraded_at in _OWN
        ),
        *(
            Contender(
                name,
                title,
                launch,
                path="/predict",
                fields=("text",),
                label_at=("label",),
                right="unknown",
                program=program,
            )
            for name, title, launch, program in _PEERS
        ),
    )
}
