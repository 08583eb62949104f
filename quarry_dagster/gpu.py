"""What NVML says of the GPUs, and whether FAISS can use them. A machine without a driver has none: that is no error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import pynvml

from quarry_dagster.errors import ConfigError

# pynvml makes its error classes at import, where type checkers do not see them.
_NO_GPU = tuple(getattr(pynvml, f"NVMLError_{name}") for name in ("LibraryNotFound", "DriverNotLoaded", "NoPermission"))
_NOT_SUPPORTED = getattr(pynvml, "NVMLError_NotSupported")  # noqa: B009

_FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12", "faiss-gpu-cu11", "faiss")


@dataclass(frozen=True)
class Gpu:
    """One GPU as NVML reports it; memory in MiB, utilization in percent."""

    index: int
    name: str
    memory_total_mb: int
    memory_used_mb: int
    utilization: int


@contextmanager
def _nvml():
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def list_gpus() -> list[Gpu]:
    """The GPUs of this machine, in NVML's order; an empty list where there is no driver or no GPU."""
    try:
        with _nvml():
            return [_read(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except _NO_GPU:
        return []


def count_gpus() -> int:
    """How many GPUs this machine has; none where NVML cannot say, for then CUDA cannot use them either."""
    try:
        with _nvml():
            return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0


@dataclass
class Use:
    """What the GPUs did while :func:`watch` looked: percent and MiB, over all GPUs; nothing without a GPU."""

    samples: int = 0
    utilization: float = 0.0  # mean
    utilization_max: int = 0
    memory_used_mb: int = 0  # peak of the sum
    memory_total_mb: int = 0

    @property
    def memory_used_percent(self) -> float:
        return 100 * self.memory_used_mb / self.memory_total_mb if self.memory_total_mb else 0.0


@contextmanager
def watch(interval: float = 1.0) -> Iterator[Use]:
    """Sample the GPUs every `interval` seconds, in a thread, while the block runs; read the result after it."""
    use = Use()
    done = threading.Event()

    def sample() -> None:
        while gpus := list_gpus():
            busy = sum(g.utilization for g in gpus) / len(gpus)
            use.utilization = (use.utilization * use.samples + busy) / (use.samples + 1)
            use.samples += 1
            use.utilization_max = max(use.utilization_max, *(g.utilization for g in gpus))
            use.memory_used_mb = max(use.memory_used_mb, sum(g.memory_used_mb for g in gpus))
            use.memory_total_mb = sum(g.memory_total_mb for g in gpus)
            if done.wait(interval):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield use
    finally:
        done.set()
        thread.join()


def faiss_gpus() -> int:
    """How many GPUs FAISS can use: none where it was built without them, as PyPI's is."""
    import faiss

    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def faiss_packages() -> dict[str, str]:
    """The installed packages that bring FAISS by their names, and the version of each; a source build is `faiss`.

    More than one is a fault that pip does not see: each writes over the files of
    the others, and to uninstall one breaks all.
    """
    found = {}
    for name in _FAISS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def check_faiss() -> None:
    """Look whether FAISS can search on a GPU, as `index.use_gpu_faiss` asks.

    Raises:
        ConfigError: it cannot.
    """
    if not faiss_gpus():
        raise ConfigError(
            "index.use_gpu_faiss is set, but this FAISS cannot use a GPU: put faiss-gpu in the place of faiss-cpu, or "
            "build it (docs/hardware.md), or unset it"
        )


def multiply_float32_as(precision: Literal["ieee", "tf32"]) -> None:
    """Set how torch multiplies matrices of float32 on a GPU, in this process and from now on.

    `tf32` rounds their values to 10 bits of mantissa, which tensor cores multiply several times as fast (NVIDIA A100
    Tensor Core GPU Architecture, 2020). It is one setting for all: whoever multiplies says first how.
    """
    import torch

    torch.backends.cuda.matmul.fp32_precision = precision


def driver_version() -> str | None:
    """The NVIDIA driver's version, or None where there is no driver."""
    try:
        with _nvml():
            return str(pynvml.nvmlSystemGetDriverVersion())
    except _NO_GPU:
        return None


def _read(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        utilization = int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except _NOT_SUPPORTED:  # MIG slices and some virtual GPUs report none
        utilization = 0
    return Gpu(
        index=index,
        name=str(pynvml.nvmlDeviceGetName(handle)),
        memory_total_mb=int(memory.total) >> 20,
        memory_used_mb=int(memory.used) >> 20,
        utilization=utilization,
    )
