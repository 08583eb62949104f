"""Joins of vectors by cosine beside exact FAISS and HNSW: CPU-seconds, pairs found, growth, the cost of one per cent.

    python -m benchmarks.join [--sizes 10000,100000] [--cells 1000000] [--vectors FILE.npy] [--kernels float32,int8]

FILE holds unit vectors of real texts, float32 of shape (n, dim), which are mixed to as many as are needed; without it,
vectors are drawn with a spectrum like theirs. 15 % are a changed copy of another. FAISS' exact search is measured on
a tenth of the rows, and multiplied: its cost is proportional. Imports are not counted. On a GPU: --kernels cuda.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import CellJoin, Cells
from benchmarks.systems import peak
from quarry_dagster.index import Float16, Float32, Int8, MakeKernel, Pairs, ThresholdJoin

THRESHOLD = 0.85
_HNSW_K = 32
_HNSW_MOST = 128
_DEFAULT = 0.1
_MARGINS = (0.06, _DEFAULT, 0.14)
KERNELS: dict[str, MakeKernel] = {"float32": Float32, "int8": Int8, "cuda": partial(Float16, device="cuda")}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.join", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--cells", type=int, help="also the cell join, of so many vectors")
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--kernels", default="float32,int8", help=f"of {', '.join(KERNELS)}; the last joins in cells")
    arguments = parser.parse_args()
    kernels = {name: KERNELS[name] for name in arguments.kernels.split(",")}
    base = vectors_to_mix(arguments.vectors)
    print("| vectors | way | CPU-s | seconds | pairs | recall |\n| ---: | --- | ---: | ---: | ---: | ---: |")
    costs = {}
    for size in map(int, filter(None, arguments.sizes.split(","))):
        costs[size] = _exact(mixed(base, size), kernels)
    for (small, a), (large, b) in itertools.pairwise(costs.items()):
        growth = (f"{name} n^{math.log(b[name] / a[name]) / math.log(large / small):.2f}" for name in kernels)
        print(f"\nfrom {small:,} to {large:,} the cost grows as: {', '.join(growth)}")
    if arguments.cells:
        _cells(mixed(base, arguments.cells), list(kernels.values())[-1])
    return 0


def vectors_to_mix(path: Path | None) -> np.ndarray:
    """Unit vectors of real texts from a file, or drawn ones: float32 of shape (n, dim)."""
    return np.load(path) if path else _drawn(20_000)


def mixed(base: np.ndarray, count: int) -> np.ndarray:
    """Unit vectors, float32 of shape (count, dim), each a mix of three of `base`, 15 % near another."""
    rng = np.random.default_rng(0)
    made = np.empty((count, base.shape[1]), np.float32)
    for start in range(0, count, 50_000):
        some = made[start : start + 50_000]
        i, j, k = rng.integers(len(base), size=(3, len(some)))
        some[:] = _unit(base[i] * 0.9 + base[j] * 0.45 + base[k] * 0.35)
    copies, originals = rng.permutation(count)[: count * 15 // 100], rng.integers(count, size=count * 15 // 100)
    for start in range(0, len(copies), 50_000):
        part = slice(start, start + 50_000)
        i, j = rng.integers(len(base), size=(2, len(copies[part])))
        change = _unit(base[i] - base[j] + 1e-6) * rng.random((len(i), 1), dtype=np.float32) * 0.75
        made[copies[part]] = _unit(made[originals[part]] + change)
    return made


def _exact(vectors: np.ndarray, kernels: dict[str, MakeKernel]) -> dict[str, float]:
    import faiss

    size, dim = vectors.shape
    new, costs = vectors[: size // 100], {}
    found = np.empty(0, np.int64)
    for name, kernel in kernels.items():

        def join(kernel: MakeKernel = kernel) -> np.ndarray:
            return _keys(ThresholdJoin(vectors, THRESHOLD, kernel).within(), size)

        def add(kernel: MakeKernel = kernel) -> np.ndarray:
            return _keys(ThresholdJoin(new, THRESHOLD, kernel).against(vectors[len(new) :]), size)

        deque(ThresholdJoin(vectors[:10], THRESHOLD, kernel).within())  # imports what it needs
        found, costs[name] = _row(size, f"threshold join, {name}", join)
        _, more = _row(size, f"threshold join, {name}, 1 % new against the rest", add)
        print(f"| | that is {more / costs[name]:.1%} of the whole join | | | | |")
    flat = faiss.IndexFlatIP(dim)
    flat.add(vectors)  # pyright: ignore[reportCallIssue]
    part = vectors[: max(1, size // 10)]
    _row(size, "FAISS IndexFlatIP range_search", lambda: flat.range_search(part, THRESHOLD), times=size / len(part))  # pyright: ignore[reportCallIssue]

    def hnsw() -> np.ndarray:
        index = faiss.IndexHNSWFlat(dim, 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = 64, 64
        index.add(vectors)  # pyright: ignore[reportCallIssue]
        cosines, ids = index.search(vectors, _HNSW_K)  # pyright: ignore[reportCallIssue]
        a, at = np.nonzero((cosines >= THRESHOLD) & (ids >= 0))
        b = ids[a, at]
        keys = np.minimum(a, b) * size + np.maximum(a, b)
        return np.unique(keys[a != b])

    if size <= 100_000:
        _row(size, f"FAISS IndexHNSWFlat M16 efC64 ef64 k{_HNSW_K}, build included", hnsw, truth=found)
    return costs


def _cells(vectors: np.ndarray, kernel: MakeKernel) -> None:
    """The cell join, and what FAISS takes to find as much. Recall is of the pairs of a sample with all, which the exact
    join finds; FAISS' indexes are asked for those of the sample, and the cost is multiplied."""
    size = len(vectors)
    count = int(2 * size**0.5)
    start = time.process_time()
    training = vectors[:: max(1, size // (40 * count))]
    cells = Cells.train(training, count)
    print(f"\n{count:,} cells of {size:,} vectors: trained in {time.process_time() - start:.1f} CPU-s\n")
    print("| vectors | way | CPU-s | seconds | pairs | recall |\n| ---: | --- | ---: | ---: | ---: | ---: |")
    sample = min(size, 5000)
    first = ThresholdJoin(vectors[:sample], THRESHOLD, kernel)
    within = _keys(first.within(), size)
    beyond = [p.a * size + p.b + sample for p in first.against(vectors[sample:])]
    truth, wanted = np.concatenate([within, *beyond]), 1.0
    for margin in _MARGINS:

        def join(margin: float = margin) -> np.ndarray:
            near = cells.near(vectors, margin)
            return _keys(CellJoin(vectors, near, THRESHOLD, kernel).within(), size)

        found, _ = _row(size, f"cell join, margin {margin}", join, truth=truth)
        if margin == _DEFAULT:
            wanted = _recall(truth, found)
        del found
    print(f"\npeak {peak():,.0f} MiB\n")
    print("| vectors | way | CPU-s | seconds | pairs | recall |\n| ---: | --- | ---: | ---: | ---: | ---: |")
    for name, make, efforts in _FAISS:
        index, made = _built(size, name, partial(make, vectors, training, count))
        for effort in efforts:
            ask = partial(_asked, index, vectors[:sample], effort, size)
            found, cost = _row(size, f"{name} at {effort}", ask, times=size / sample, truth=truth)
            print(f"| | that is {made + cost:,.0f} CPU-s with its building | | | | |")
            if _recall(truth, found) >= wanted:
                break


def _ivf(vectors: np.ndarray, training: np.ndarray, count: int) -> Any:
    import faiss

    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], count, faiss.METRIC_INNER_PRODUCT)
    index.train(training)  # pyright: ignore[reportCallIssue]
    index.add(vectors)  # pyright: ignore[reportCallIssue]
    return index


def _hnsw(vectors: np.ndarray, training: np.ndarray, count: int) -> Any:
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 64
    index.add(vectors)  # pyright: ignore[reportCallIssue]
    return index


_FAISS = (
    ("FAISS IndexIVFFlat", _ivf, ("nprobe=8", "nprobe=16", "nprobe=32", "nprobe=64")),
    # Not asked by range_search: in inner product it ends the process.
    (f"FAISS IndexHNSWFlat M16 efC64 k{_HNSW_MOST}", _hnsw, ("efSearch=128", "efSearch=256", "efSearch=512")),
)


def _built(size: int, name: str, make: Callable[[], Any]) -> tuple[Any, float]:
    made: list[Any] = []
    _, cost = _row(size, f"{name}, building", lambda: made.append(make()))
    return made[0], cost


def _asked(index: Any, sample: np.ndarray, effort: str, size: int) -> np.ndarray:
    """The pairs of a sample, which are the first vectors, that an index finds with so much effort."""
    import faiss

    faiss.ParameterSpace().set_index_parameters(index, effort)
    if isinstance(index, faiss.IndexHNSW):
        cosines, found = index.search(sample, _HNSW_MOST)
        a, at = np.nonzero((cosines >= THRESHOLD) & (found >= 0))
        ids = found[a, at]
    else:
        limits, _, ids = index.range_search(sample, THRESHOLD)
        a = np.repeat(np.arange(len(sample)), np.diff(limits.astype(np.int64)))
    keys = np.minimum(a, ids) * size + np.maximum(a, ids)
    return np.unique(keys[a != ids])


def _recall(truth: np.ndarray, found: np.ndarray) -> float:
    return float(np.isin(truth, found).mean())


def _row(
    size: int, way: str, work: Callable[[], Any], times: float = 1.0, truth: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    found = work()
    cpu, wall = (time.process_time() - cpu) * times, (time.perf_counter() - wall) * times
    pairs = f"{len(found):,}" if isinstance(found, np.ndarray) else ""
    recall = "" if truth is None else f"{_recall(truth, found):.4f}"
    print(f"| {size:,} | {way} | {cpu:,.1f} | {wall:,.1f} | {pairs} | {recall} |", flush=True)
    return found, cpu


def _keys(pairs: Iterable[Pairs], size: int) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *(p.a * size + p.b for p in pairs)])


def _drawn(count: int, dim: int = 384) -> np.ndarray:
    """Unit vectors whose 64 strongest directions hold three quarters of them, as all-MiniLM-L6-v2's do."""
    rng = np.random.default_rng(0)
    return _unit(rng.normal(size=(count, dim)).astype(np.float32) * np.arange(1, dim + 1, dtype=np.float32) ** -0.62)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


if __name__ == "__main__":
    sys.exit(main())
