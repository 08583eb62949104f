"""What the GPUs do, and how fast texts are embedded, while a program works."""

from __future__ import annotations

import math
from contextlib import ExitStack

from quarry_dagster import gpu
from quarry_dagster.embed import Work, work_done
from quarry_dagster.errors import ConfigError


class GPUMonitor:
    """Watches the GPUs by NVML, and what this process embeds."""

    def __init__(self, interval: float = 1.0) -> None:
        """`interval`: seconds between two looks at the GPUs.

        Raises:
            ConfigError: it is no number above 0.
        """
        if isinstance(interval, bool) or not isinstance(interval, int | float) or not 0 < interval < math.inf:
            raise ConfigError(f"interval: a number of seconds above 0, not {interval!r}")
        self._interval = interval
        self._watching = ExitStack()
        self._use: gpu.Use | None = None
        self._before = Work()
        self._done: Work | None = None
        """What was embedded until it stopped; None while it watches."""

    def start_monitoring(self) -> None:
        """Begin to watch, anew where it did so before."""
        self.stop_monitoring()
        self._use = self._watching.enter_context(gpu.watch(self._interval))
        self._before, self._done = work_done(), None

    def stop_monitoring(self) -> None:
        """End it; what was seen can still be read."""
        if self._use is not None and self._done is None:
            self._done = work_done() - self._before
        self._watching.close()

    def get_metrics(self) -> dict[str, float]:
        """What was seen since it began to watch.

        `gpu_utilization` is the mean over time and GPUs, in percent; `memory_usage` the most that was used of all their
        memory, in percent; `embeddings_per_second` counts the time of embedding alone; `gpus` is how many GPUs there
        are. Without one the first two are 0.

        Raises:
            ConfigError: it never began.
        """
        if self._use is None:
            raise ConfigError("GPUMonitor has nothing to say yet: call start_monitoring() first")
        done = self._done or work_done() - self._before
        return {
            "gpu_utilization": self._use.utilization,
            "memory_usage": self._use.memory_used_percent,
            "embeddings_per_second": done.texts_per_second,
            "gpus": float(gpu.count_gpus()),
        }
