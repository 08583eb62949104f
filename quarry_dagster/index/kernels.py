"""How tiles of vectors are compared: by NumPy, by torch in bytes, by torch on a GPU. All find the same pairs.

Most pairs are dismissed by a bound (:mod:`quarry_dagster.index.bound`), that leaves less than one pair in a thousand to
be computed in full.

A pair's cosine is a function of its two vectors, the same bit for bit wherever it is met.
"""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from quarry_dagster.gpu import multiply_float32_as
from quarry_dagster.index.bound import SAMPLE, coordinates, directions, one_thread, rounding, sample

if TYPE_CHECKING:
    import torch

_WORTH_TORCH = 3_000_000_000  # comparisons; fewer take NumPy less time than it takes to import torch
_DENSE = 0.02  # share of a tile from which computing all of it is cheaper than picking pairs out
_PROJECTED = 4096  # vectors whose coordinates are computed at once
_PAIRS = 1024  # computed in full at once: what fits in a core's cache

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Pairs:
    """Pairs found: `a` and `b` are rows (int64), `cosine` is float32; all of shape (pairs,)."""

    a: np.ndarray
    b: np.ndarray
    cosine: np.ndarray


@dataclass(frozen=True)
class Side:
    """Vectors, float32 or float16 of shape (n, dim), and what the bound is computed of, where the kernel computes."""

    vectors: np.ndarray
    bound: Any


Tile = tuple[np.ndarray, np.ndarray]
"""Rows of one side and rows of the other, int64: each of the one is compared with each of the other."""

Keep = Callable[[np.ndarray, np.ndarray], np.ndarray] | None
"""Which candidates (rows of left, rows of right) to look at: a mask; None: all."""


class Kernel(Protocol):
    """Finds the pairs of tiles whose cosine reaches a threshold."""

    tile: tuple[int, int]
    """Rows of either side that are best compared at once."""

    def side(self, vectors: np.ndarray) -> Side: ...

    def find(self, left: Side, right: Side, tiles: Iterable[Tile], keep: Keep) -> Iterator[Pairs]: ...


MakeKernel = Callable[[np.ndarray, float], Kernel]
"""A kernel for vectors like these, unit vectors of shape (n, dim), and a threshold."""


def fastest(comparisons: int, *, gpu: bool, along: np.ndarray | None = None) -> MakeKernel:
    """The kernel that is fastest on this machine for so many comparisons.

    `gpu` says whether a GPU may be used. `along` are directions that are known already (see :class:`Float32`): to find
    some takes longer than to compare a few hundred vectors.
    """
    if comparisons < _WORTH_TORCH:
        return Float32 if along is None else partial(Float32, along=along)
    import torch

    if gpu and torch.cuda.is_available():
        return partial(Float16, device="cuda")
    return Int8 if _bytes_are_faster() else Float32


@cache
def _bytes_are_faster() -> bool:
    """Whether this CPU multiplies bytes so fast, as those with instructions for their dot products do."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4096, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return _seconds(Int8, vectors) < _seconds(Float32, vectors)


def _seconds(make: MakeKernel, vectors: np.ndarray) -> float:
    kernel, rows = make(vectors, 0.85), np.arange(len(vectors))
    side = kernel.side(vectors)
    tiles = [(rows[:512], rows[start : start + 1024]) for start in range(0, len(rows), 1024)]
    deque(kernel.find(side, side, tiles, None))  # warms the threads up
    start = time.perf_counter()
    deque(kernel.find(side, side, tiles, None))
    return time.perf_counter() - start


class _OnCpu(ABC):
    tile: tuple[int, int]
    _of_torch = False

    def __init__(self, vectors: np.ndarray, threshold: float) -> None:
        self._threshold = threshold
        self._of_thread = threading.local()

    @abstractmethod
    def side(self, vectors: np.ndarray) -> Side: ...

    @abstractmethod
    def _bounds(
        self, left: Side, rows: np.ndarray, right: Side, columns: np.ndarray, least: float, sums: np.ndarray
    ) -> tuple[np.ndarray, np.number]:
        """The bound of each pair of a tile, made in `sums` (four bytes a pair), and the least that a hit has."""

    def find(self, left: Side, right: Side, tiles: Iterable[Tile], keep: Keep) -> Iterator[Pairs]:
        least = self._threshold - rounding(left.vectors.shape[1])

        def compare(tile: Tile) -> Pairs:
            rows, columns = tile
            shape, count = (len(rows), len(columns)), len(rows) * len(columns)
            sums, is_hit = (memory[:count].reshape(shape) for memory in self._memory())
            bounds, at_bound = self._bounds(left, rows, right, columns, least, sums)
            hits = np.flatnonzero(np.greater_equal(bounds, at_bound, out=is_hit))
            if len(hits) > _DENSE * count:
                a, b = left.vectors[rows], right.vectors[columns]
                np.matmul(a.astype(np.float32, copy=False), b.astype(np.float32, copy=False).T, out=sums)
                hits = np.flatnonzero(np.greater_equal(sums, np.float32(least), out=is_hit))
            return _exact(left, rows[hits // len(columns)], right, columns[hits % len(columns)], keep, self._threshold)

        return _in_order(compare, tiles, os.cpu_count() or 1, of_torch=self._of_torch)

    def _memory(self) -> tuple[np.ndarray, np.ndarray]:
        """For the sums of a tile (float32) and which are hits (bool): a thread's own, for new memory costs as much
        as the sums."""
        if not hasattr(self._of_thread, "memory"):
            size = self.tile[0] * self.tile[1]
            self._of_thread.memory = np.empty(size, np.float32), np.empty(size, bool)
        return self._of_thread.memory


class Float32(_OnCpu):
    """NumPy: a sixth of the arithmetic of all pairs in full.

    `along`: directions in which vectors like these are large, the largest first; None: they are found.
    """

    tile: tuple[int, int] = (512, 1024)  # 2 MiB of sums: a core's cache holds them

    def __init__(self, vectors: np.ndarray, threshold: float, along: np.ndarray | None = None) -> None:
        super().__init__(vectors, threshold)
        self._directions = directions(vectors, 63) if along is None else np.ascontiguousarray(along[:, :63])

    def side(self, vectors: np.ndarray) -> Side:
        bound = np.empty((len(vectors), self._directions.shape[1] + 1), np.float32)

        def fill(part: slice) -> None:
            bound[part] = coordinates(vectors[part], self._directions)

        for_parts(fill, len(vectors))
        return Side(vectors, bound)

    def _bounds(
        self, left: Side, rows: np.ndarray, right: Side, columns: np.ndarray, least: float, sums: np.ndarray
    ) -> tuple[np.ndarray, np.number]:
        return np.matmul(left.bound[rows], right.bound[columns].T, out=sums), np.float32(least)


@dataclass(frozen=True)
class _Bytes:
    """Vectors as int8 of shape (n, width) times a scale; `error` is how far each is off, float32 of shape (n,)."""

    values: np.ndarray
    error: np.ndarray


class Int8(_OnCpu):
    """Torch on the CPU, of bytes: where a CPU has instructions for that, a multiple as fast as float32.

    What is lost in rounding to bytes is added to the bound: ``<a, b> <= <a', b'> + |a'| |db| + |da| |b'| + |da| |db|``
    for a = a' + da. A rotation before that spreads what a vector has over all its coordinates.
    """

    tile: tuple[int, int] = (1024, 1024)
    _of_torch = True

    def __init__(self, vectors: np.ndarray, threshold: float) -> None:
        import torch  # noqa: F401  before its threads start: they limit what is loaded then

        super().__init__(vectors, threshold)
        self._directions = directions(vectors, 127)
        width = self._directions.shape[1] + 1
        rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(width, width)))
        self._rotation = rotation.astype(np.float32)
        most = np.abs(coordinates(sample(vectors), self._directions) @ self._rotation).max(initial=1e-3)
        self._scale = float(most) / 127

    def side(self, vectors: np.ndarray) -> Side:
        width = len(self._rotation)
        made = _Bytes(np.empty((len(vectors), width), np.int8), np.empty(len(vectors), np.float32))

        def fill(part: slice) -> None:
            exact = coordinates(vectors[part], self._directions) @ self._rotation
            rounded = np.clip(np.rint(exact / self._scale), -127, 127)
            made.values[part] = rounded
            made.error[part] = np.linalg.norm(exact - rounded * self._scale, axis=1) + width**0.5 * rounding(width)

        for_parts(fill, len(vectors))
        return Side(vectors, made)

    def _bounds(
        self, left: Side, rows: np.ndarray, right: Side, columns: np.ndarray, least: float, sums: np.ndarray
    ) -> tuple[np.ndarray, np.number]:
        import torch

        a, b = left.bound.error[rows].max(), right.bound.error[columns].max()
        lost = a + b + 3 * a * b  # a unit vector, rounded, is no longer than one and its error
        values = (torch.from_numpy(side.bound.values[at]) for side, at in ((left, rows), (right, columns)))
        products = sums.view(np.int32)
        torch._int_mm(next(values), next(values).T, out=torch.from_numpy(products))  # pyright: ignore[reportPrivateImportUsage]
        return products, np.int32(np.ceil((least - lost) / self._scale**2))


@dataclass(frozen=True)
class _OnDevice:
    """Vectors where a device computes: in full, and the coordinates of the bound, float16."""

    vectors: torch.Tensor
    coordinates: torch.Tensor


class Float16:
    """Torch on a GPU: the bound in float16, and what it leaves in float32, so that the CPU is left with the pairs."""

    tile: tuple[int, int] = (8192, 8192)  # a launch costs more than its sums

    def __init__(self, vectors: np.ndarray, threshold: float, device: str) -> None:
        self._directions = directions(vectors, 127)
        self._threshold = threshold
        self._device = device

    def side(self, vectors: np.ndarray) -> Side:
        import torch

        here = torch.from_numpy(np.ascontiguousarray(vectors)).to(self._device)
        bound = [
            torch.from_numpy(coordinates(vectors[start : start + SAMPLE], self._directions)).to(self._device).half()
            for start in range(0, len(vectors), SAMPLE)
        ]
        return Side(vectors, _OnDevice(here, torch.cat(bound) if bound else here[:, :0].half()))

    def find(self, left: Side, right: Side, tiles: Iterable[Tile], keep: Keep) -> Iterator[Pairs]:
        import torch

        least = self._threshold - rounding(left.vectors.shape[1])
        # Two factors and the sum are rounded to half a unit each; a coordinate of a unit vector is at most one.
        at_bound = least - 2 * torch.finfo(torch.float16).eps

        multiply_float32_as("ieee")

        def compare(tile: Tile) -> Pairs:
            mine, theirs = left.bound, right.bound
            rows, columns = (torch.from_numpy(t).to(self._device) for t in tile)
            a, b = torch.nonzero(mine.coordinates[rows] @ theirs.coordinates[columns].T >= at_bound, as_tuple=True)
            if len(a) > _DENSE * len(rows) * len(columns):
                cosines = mine.vectors[rows].float() @ theirs.vectors[columns].float().T
                a, b = torch.nonzero(cosines >= least, as_tuple=True)
                a, b = rows[a], columns[b]
            else:
                blocks = zip(rows[a].split(1 << 20), columns[b].split(1 << 20), strict=True)
                near = torch.cat(
                    [(mine.vectors[i].float() * theirs.vectors[j].float()).sum(dim=1) >= least for i, j in blocks]
                )
                a, b = rows[a][near], columns[b][near]
            return _exact(left, a.cpu().numpy(), right, b.cpu().numpy(), keep, self._threshold)

        return _in_order(compare, tiles, 1)


def for_parts(fill: Callable[[slice], None], count: int, size: int = _PROJECTED) -> None:
    """Fill what is computed of each of `count` vectors, `size` at once, on all cores."""
    parts = (slice(start, start + size) for start in range(0, count, size))
    for _ in _in_order(fill, parts, os.cpu_count() or 1):
        pass


def dots(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The scalar products of pairs of vectors (float32 or float16, shape (n, dim) each): float64 of shape (n,).

    Products of two float32 are exact in float64, and are added one after the other in the order of the components. So a
    pair has one scalar product, bit for bit: alone or in a block, either way round, on every machine. Library functions
    add in an order of their own, that differs with the shape and the processor.
    """
    products = left.T.astype(np.float64) * right.T
    total = np.zeros(len(left))
    for component in products:
        total += component
    return total


def _exact(left: Side, a: np.ndarray, right: Side, b: np.ndarray, keep: Keep, threshold: float) -> Pairs:
    """Of these candidates the pairs that reach the threshold.

    A pair's cosine (:func:`dots`) is the same wherever it is met, and either way round.
    """
    if keep is not None:
        kept = keep(a, b)
        a, b = a[kept], b[kept]
    cosines = np.empty(len(a), np.float32)
    for start in range(0, len(a), _PAIRS):
        part = slice(start, start + _PAIRS)
        cosines[part] = dots(left.vectors[a[part]], right.vectors[b[part]])
    hits = cosines >= np.float32(threshold)
    return Pairs(a[hits], b[hits], cosines[hits])


@cache
def _pool(threads: int, of_torch: bool) -> ThreadPoolExecutor:
    """Threads that stay, for theirs is the memory that they have warmed.

    OpenMP, by which torch shares out its work, has a limit for each thread of ours, and knows it once torch is there.
    """
    limit = partial(threadpool_limits, 1, "openmp") if of_torch else None
    return ThreadPoolExecutor(threads, "join", initializer=limit)


def _in_order(
    work: Callable[[Task], Result], tasks: Iterable[Task], threads: int, *, of_torch: bool = False
) -> Iterator[Result]:
    """The result of each task in the order of the tasks, a few tasks ahead of who takes them.

    BLAS gets one thread meanwhile: a core a tile wastes less than many cores on one small product.
    """
    ahead: deque[Future[Result]] = deque()
    pool = _pool(threads, of_torch)
    with one_thread():
        for task in tasks:
            ahead.append(pool.submit(work, task))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
