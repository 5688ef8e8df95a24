from __future__ import annotations

from itertools import count

import pytest
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor

from training_pipeline import system_metrics
from training_pipeline.system_metrics import SystemMonitor

EXPECTED = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
    "system/disk_usage_percentage",
    "system/disk_available_megabytes",
    "system/network_receive_megabytes",
    "system/network_transmit_megabytes",
}


def test_even_a_short_run_has_a_sample() -> None:
    """MLflow's names, its own monitors, and the moment at which they were read."""
    with SystemMonitor() as monitor:
        pass
    (sample,) = monitor.samples
    assert sample.figures.keys() >= EXPECTED
    assert 0 < sample.figures["system/system_memory_usage_percentage"] <= 100


def test_samples_are_thinned_out() -> None:
    """However long a run is, its samples have a bound, and span all of it."""
    moments = count()
    monitor = SystemMonitor(clock=lambda: float(next(moments)))
    with monitor:
        for _ in range(3 * system_metrics.MAX_SAMPLES):
            monitor.sample()
    assert len(monitor.samples) <= system_metrics.MAX_SAMPLES
    told = [sample.moment for sample in monitor.samples]
    assert told == sorted(told)
    assert (told[0], told[-1]) == (1.0, 3.0 * system_metrics.MAX_SAMPLES + 1)


def test_a_monitor_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that cannot be asked takes nothing from the others, nor from the run."""

    def fail(_: DiskMonitor) -> None:
        raise OSError("no such disk")

    monkeypatch.setattr(DiskMonitor, "collect_metrics", fail)
    with SystemMonitor() as monitor:
        pass
    assert "system/cpu_utilization_percentage" in monitor.samples[0].figures
    assert "system/disk_usage_percentage" not in monitor.samples[0].figures
