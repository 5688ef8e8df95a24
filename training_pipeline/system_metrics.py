"""System metrics: what the machine does while a run trains, by MLflow's own monitors.

MLflow's loop logs into a run that is open. Here a run is logged at its end, so that whoever is
killed leaves nothing: the same monitors are read into memory, with the moments.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from shared.logs import get_logger
from training_pipeline.registry.candidate import Sample

if TYPE_CHECKING:
    from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor

_log = get_logger(__name__)

PREFIX = "system/"
"""MLflow's, by which its pages tell these metrics."""
INTERVAL_SECONDS = 10.0
"""As MLflow's own."""
MAX_SAMPLES = 1_000
"""With more every second one goes, and the interval doubles: a week fits as an hour does."""


class SystemMonitor:
    """Samples the machine on a thread while the context lasts, and once more at its end."""

    def __init__(
        self, interval: float = INTERVAL_SECONDS, clock: Callable[[], float] = time.time
    ) -> None:
        self.samples: list[Sample] = []
        """Oldest first."""
        self._interval = interval
        self._clock = clock
        self._monitors: list[BaseMetricsMonitor] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="system-metrics", daemon=True)

    def __enter__(self) -> Self:
        """Begin. Of the first figures none is of use: the CPU's is a share since the one before."""
        self._monitors = _monitors()
        self.sample()
        self.samples.clear()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End, with a last sample."""
        self._ended.set()
        self._thread.join()
        self.sample()

    def sample(self) -> None:
        """Take a sample; a monitor that fails is left out from then on."""
        figures: dict[str, float] = {}
        for monitor in list(self._monitors):
            try:
                monitor.collect_metrics()  # type: ignore[no-untyped-call]  # mlflow's
                told = monitor.aggregate_metrics()  # type: ignore[no-untyped-call]  # mlflow's
                monitor.clear_metrics()  # type: ignore[no-untyped-call]  # mlflow's
            except Exception:  # noqa: BLE001 - a run does not fail for want of a figure
                _log.warning("a system metric is left out", monitor=type(monitor).__name__)
                self._monitors.remove(monitor)
            else:
                figures |= {f"{PREFIX}{name}": float(value) for name, value in told.items()}
        if figures:
            self.samples.append(Sample(self._clock(), figures))
        if len(self.samples) > MAX_SAMPLES:
            del self.samples[1::2]
            self._interval *= 2

    def _watch(self) -> None:
        while not self._ended.wait(self._interval):
            self.sample()


def _monitors() -> list[BaseMetricsMonitor]:
    """Return MLflow's monitors of what this machine has."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    found: list[BaseMetricsMonitor] = []
    for kind in (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor, ROCMMonitor):
        try:
            found.append(kind())
        except Exception as error:  # noqa: BLE001 - so a monitor says that its device is not there
            _log.debug("no system metrics", monitor=kind.__name__, found=str(error))
    return found
