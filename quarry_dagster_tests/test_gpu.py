"""GPUs are watched off the hot path; a machine without one has nothing to report, and nothing fails."""

import time

import pytest

from quarry_dagster import gpu
from quarry_dagster.gpu import Gpu


def test_what_nvml_says_can_be_read_with_or_without_a_gpu() -> None:
    with gpu.watch(interval=0.01) as use:
        time.sleep(0.1)
    assert (use.samples > 0) == bool(gpu.list_gpus())
    assert (gpu.driver_version() is None) <= (gpu.list_gpus() == [])


def test_samples_become_a_mean_and_peaks_over_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is needed to add up what NVML reports."""
    readings = iter([[Gpu(0, "card", 8000, 1000, 20), Gpu(1, "card", 8000, 500, 40)], [Gpu(0, "card", 8000, 3000, 90)]])
    monkeypatch.setattr(gpu, "list_gpus", lambda: next(readings, []))
    with gpu.watch(interval=0.001) as use:
        while use.samples < 2:
            time.sleep(0.001)
    assert (use.samples, use.utilization, use.utilization_max, use.memory_used_mb) == (2, 60.0, 90, 3000)
