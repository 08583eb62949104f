"""All pairs of vectors whose cosine reaches a threshold: compared all, or those that meet in a cell.

Most pairs are dismissed by a bound that holds for every pair. Let x1 be the part of x in a subspace and x2 the rest:
by Cauchy-Schwarz ``<a, b> <= <a1, b1> + |a2| |b2|``. That is a dot product too, of the coordinates in the subspace
with the norm of the rest as one more; in the 63 directions in which the vectors vary most it takes a sixth of the
arithmetic, and leaves about one pair in a thousand to be computed in full.

Which pairs are compared, and the cosine a pair gets, depends on the two vectors (and the centroids) alone, never on
what else is there or in which order. Work goes by tiles, so memory is bounded whatever is found.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    import torch

_SAMPLE = 20_000  # vectors that the directions are taken from
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


class ThresholdJoin:
    """All pairs of some vectors with each other, and with others. Exact.

    What is new is joined with itself and with what was there: m against N cost m * N comparisons.

        join = ThresholdJoin(new, 0.85)
        for pairs in join.within(): ...            # rows of new
        for block in old:
            for pairs in join.against(block): ...  # rows of new, rows of block
    """

    def __init__(self, vectors: np.ndarray, threshold: float, device: str | None = None) -> None:
        """
        Args:
            vectors: unit vectors, float32 or float16 of shape (n, dim).
            threshold: the least cosine of a pair, as float32.
            device: where torch computes, such as "cuda"; None: NumPy on the CPU. The pairs are the same.
        """
        self._kernel = _kernel(vectors, threshold, device)
        self._own = self._kernel.side(vectors)

    def within(self, limit: int | None = None) -> Iterator[Pairs]:
        """Pairs of the vectors with each other, a < b, each once.

        With `limit`, of each b the pairs with at least its first `limit` partners: where very many are alike, the
        others are not looked at.
        """
        found = np.zeros(len(self._own.vectors), np.int64)

        def tiles() -> Iterator[_Tile]:
            for rows, columns in self._tiles(self._own, triangle=True):
                unfinished = columns if limit is None else columns[found[columns] < limit]
                if len(unfinished):
                    yield rows, unfinished

        for pairs in self._kernel.find(self._own, self._own, tiles(), np.less):
            found += np.bincount(pairs.b, minlength=len(found))
            yield pairs

    def against(self, others: np.ndarray) -> Iterator[Pairs]:
        """Pairs of a vector (`a`) with one of `others` (`b`), unit vectors of shape (m, dim)."""
        other = self._kernel.side(others)
        yield from self._kernel.find(self._own, other, self._tiles(other, triangle=False), None)

    def _tiles(self, other: _Side, triangle: bool) -> Iterator[_Tile]:
        height, width = self._kernel.tile
        for row in range(0, len(self._own.vectors), height):
            rows = np.arange(row, min(row + height, len(self._own.vectors)))
            for column in range(row if triangle else 0, len(other.vectors), width):
                yield rows, np.arange(column, min(column + width, len(other.vectors)))


@dataclass(frozen=True)
class Cells:
    """A fixed partition of the sphere: a vector's home is the cell of its nearest centroid.

    `centroids` are float32 of shape (cells, dim). Keep them: other centroids let other pairs meet.
    """

    centroids: np.ndarray

    @classmethod
    def train(cls, sample: np.ndarray, cells: int) -> Cells:
        """Cells that fit a sample of unit vectors, float32 of shape (n, dim): spherical k-means, at least 39 n a cell.

        About ``2 * sqrt(N)`` cells make a join of N vectors cheapest.
        """
        import faiss

        kmeans = faiss.Kmeans(sample.shape[1], cells, niter=10, seed=1, spherical=True)
        kmeans.train(sample)
        assert kmeans.centroids is not None
        return cls(kmeans.centroids)

    def near(self, vectors: np.ndarray, probes: int) -> np.ndarray:
        """The nearest cells of each vector, home first: int32 of shape (n, probes).

        A function of the vector alone: where centroids are as good as equally near, float64 decides, and then the
        lower number, so that it does not matter how sums were rounded in this batch.
        """
        import faiss

        cells = len(self.centroids)
        probes = min(probes, cells)
        index = faiss.IndexFlatIP(self.centroids.shape[1])
        index.add(self.centroids)  # pyright: ignore[reportCallIssue]
        out = np.empty((len(vectors), probes), np.int32)
        exact = self.centroids.astype(np.float64)
        for start in range(0, len(vectors), _SAMPLE):
            block = np.ascontiguousarray(vectors[start : start + _SAMPLE], np.float32)
            cosines, found = index.search(block, min(probes + 1, cells))  # pyright: ignore[reportCallIssue]
            close = np.flatnonzero((-np.diff(cosines, axis=1) < _rounding(block.shape[1])).any(axis=1))
            again = -np.einsum("ij,kj->ik", block[close].astype(np.float64), exact)
            found[close] = np.argsort(again, axis=1, kind="stable")[:, : found.shape[1]]
            out[start : start + _SAMPLE] = found[:, :probes]
        return out


class CellJoin:
    """Pairs of which one's home is among the other's nearest cells: a few in a thousand of all, and nearly all hits.

    As :class:`ThresholdJoin`, with the nearest cells of each vector (:meth:`Cells.near`, the same number for all).
    """

    def __init__(self, vectors: np.ndarray, near: np.ndarray, threshold: float, device: str | None = None) -> None:
        """
        Args:
            vectors: unit vectors, float32 or float16 of shape (n, dim).
            near: their nearest cells, int32 of shape (n, probes).
            threshold: the least cosine of a pair, as float32.
            device: as for :class:`ThresholdJoin`.
        """
        self._kernel = _kernel(vectors, threshold, device)
        self._own = self._kernel.side(vectors)
        self._near = near

    def within(self) -> Iterator[Pairs]:
        """Pairs of the vectors with each other, a < b, each once."""
        near = self._near

        def once(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            """Not the pair of a vector with itself, nor (b, a) where (a, b) is found too."""
            return (a < b) | ((a > b) & ~(near[a] == near[b, :1]).any(axis=1))

        for pairs in self._kernel.find(self._own, self._own, self._tiles(near, near), once):
            yield Pairs(np.minimum(pairs.a, pairs.b), np.maximum(pairs.a, pairs.b), pairs.cosine)

    def against(self, others: np.ndarray, near: np.ndarray) -> Iterator[Pairs]:
        """Pairs of a vector (`a`) with one of `others` (`b`), unit vectors of shape (m, dim) with their cells."""
        other = self._kernel.side(others)
        yield from self._kernel.find(self._own, other, self._tiles(self._near, near), None)

        def new(b: np.ndarray, a: np.ndarray) -> np.ndarray:
            """Not what was found at the home of `a`."""
            return ~(near[b] == self._near[a, :1]).any(axis=1)

        for pairs in self._kernel.find(other, self._own, self._tiles(near, self._near), new):
            yield Pairs(pairs.b, pairs.a, pairs.cosine)

    def _tiles(self, near: np.ndarray, guests_near: np.ndarray) -> Iterator[_Tile]:
        """Those at home in each cell, and the guests that have it among their nearest."""
        height, width = self._kernel.tile
        guests = dict(_by_cell(guests_near))
        for cell, home in _by_cell(near[:, :1]):
            visiting = guests.get(cell, home[:0])
            for row in range(0, len(home), height):
                for column in range(0, len(visiting), width):
                    yield home[row : row + height], visiting[column : column + width]


def _by_cell(near: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each cell that occurs with the rows in which it does, ascending."""
    order = np.argsort(near, axis=None, kind="stable")
    cells, starts = np.unique(near.ravel()[order], return_index=True)
    yield from zip(cells.tolist(), np.split(order // near.shape[1], starts[1:]), strict=True)


_Tile = tuple[np.ndarray, np.ndarray]
"""Rows of one side and rows of the other, int64: each of the one is compared with each of the other."""


@dataclass(frozen=True)
class _Side:
    """Vectors, and their coordinates for the bound. `here` and `bound` are where the kernel computes."""

    vectors: np.ndarray
    here: Any
    bound: Any


class _Kernel(Protocol):
    """Computes the bound, where and how it is fast."""

    tile: tuple[int, int]
    """Rows of either side that are compared at once."""

    def side(self, vectors: np.ndarray) -> _Side: ...

    def find(self, left: _Side, right: _Side, tiles: Iterable[_Tile], keep: _Keep) -> Iterator[Pairs]: ...


_Keep = Callable[[np.ndarray, np.ndarray], np.ndarray] | None
"""Which candidates (rows of left, rows of right) to look at: a mask; None: all."""


def _kernel(vectors: np.ndarray, threshold: float, device: str | None) -> _Kernel:
    return _OnCpu(vectors, threshold) if device is None else _OnDevice(vectors, threshold, device)


class _OnCpu:
    tile: tuple[int, int] = (512, 1024)  # 2 MiB of sums: a core's cache holds them

    def __init__(self, vectors: np.ndarray, threshold: float) -> None:
        self._directions = _directions(vectors, 63)
        self._threshold = threshold

    def side(self, vectors: np.ndarray) -> _Side:
        bound = np.empty((len(vectors), self._directions.shape[1] + 1), np.float32)

        def project(part: slice) -> None:
            _project(vectors[part], self._directions, bound[part])

        parts = (slice(start, start + _PROJECTED) for start in range(0, len(vectors), _PROJECTED))
        for _ in _in_order(project, parts, os.cpu_count() or 1):
            pass
        return _Side(vectors, vectors, bound)

    def find(self, left: _Side, right: _Side, tiles: Iterable[_Tile], keep: _Keep) -> Iterator[Pairs]:
        least = np.float32(self._threshold - _rounding(left.vectors.shape[1]))

        def compare(tile: _Tile) -> Pairs:
            rows, columns = tile
            hits = np.flatnonzero(left.bound[rows] @ right.bound[columns].T >= least)
            if len(hits) > _DENSE * len(rows) * len(columns):
                a, b = (
                    side.here[at].astype(np.float32, copy=False) for side, at in zip((left, right), tile, strict=True)
                )
                hits = np.flatnonzero(a @ b.T >= least)
            return _exact(left, rows[hits // len(columns)], right, columns[hits % len(columns)], keep, self._threshold)

        return _in_order(compare, tiles, os.cpu_count() or 1)


class _OnDevice:
    """The same by torch. The bound is computed in float16, and more is left to the pairs that remain."""

    tile: tuple[int, int] = (8192, 8192)  # a launch costs more than its sums

    def __init__(self, vectors: np.ndarray, threshold: float, device: str) -> None:
        self._directions = _directions(vectors, 127)
        self._threshold = threshold
        self._device = device

    def side(self, vectors: np.ndarray) -> _Side:
        import torch

        bound = [
            torch.from_numpy(_coordinates(vectors[start : start + _SAMPLE], self._directions)).to(self._device).half()
            for start in range(0, len(vectors), _SAMPLE)
        ]
        here = torch.from_numpy(np.ascontiguousarray(vectors)).to(self._device)
        return _Side(vectors, here, torch.cat(bound) if bound else here[:, :0].half())

    def find(self, left: _Side, right: _Side, tiles: Iterable[_Tile], keep: _Keep) -> Iterator[Pairs]:
        import torch

        least = self._threshold - _rounding(left.vectors.shape[1])
        # Two factors and the sum are rounded to half a unit each; a coordinate of a unit vector is at most one.
        at_bound = least - 2 * torch.finfo(torch.float16).eps

        def compare(tile: _Tile) -> Pairs:
            rows, columns = (torch.from_numpy(t).to(self._device) for t in tile)
            a, b = torch.nonzero(left.bound[rows] @ right.bound[columns].T >= at_bound, as_tuple=True)
            if len(a) > _DENSE * len(rows) * len(columns):
                a, b = torch.nonzero(left.here[rows].float() @ right.here[columns].float().T >= least, as_tuple=True)
                a, b = rows[a], columns[b]
            else:
                near = torch.cat(
                    [
                        self._near(left, i, right, j, least)
                        for i, j in zip(rows[a].split(1 << 20), columns[b].split(1 << 20), strict=True)
                    ]
                )
                a, b = rows[a][near], columns[b][near]
            return _exact(left, a.cpu().numpy(), right, b.cpu().numpy(), keep, self._threshold)

        return _in_order(compare, tiles, 1)

    @staticmethod
    def _near(left: _Side, a: torch.Tensor, right: _Side, b: torch.Tensor, least: float) -> torch.Tensor:
        return (left.here[a].float() * right.here[b].float()).sum(dim=1) >= least


def _directions(vectors: np.ndarray, count: int) -> np.ndarray:
    """Orthonormal directions in which a sample of the vectors is largest: float32 of shape (dim, count or fewer)."""
    sample = vectors[:: max(1, -(-len(vectors) // _SAMPLE))].astype(np.float64)
    with _one_thread():  # so small a problem is slower on many threads
        _, axes = np.linalg.eigh(sample.T @ sample)
    return np.ascontiguousarray(axes[:, ::-1][:, :count], np.float32)


def _coordinates(vectors: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Coordinates of vectors in these directions, and the norm of the rest last: float32 of shape (n, count + 1)."""
    out = np.empty((len(vectors), directions.shape[1] + 1), np.float32)
    _project(vectors, directions, out)
    return out


def _project(vectors: np.ndarray, directions: np.ndarray, out: np.ndarray) -> None:
    """The same, written to `out`.

    The norm is rounded up: it comes from a difference, which for a small rest is mostly rounding.
    """
    vectors, inside = vectors.astype(np.float32, copy=False), out[:, :-1]
    np.matmul(vectors, directions, out=inside)
    rest = np.einsum("ij,ij->i", vectors, vectors) - np.einsum("ij,ij->i", inside, inside)
    out[:, -1] = np.sqrt(np.maximum(rest, 0) + _rounding(vectors.shape[1]))


def _exact(left: _Side, a: np.ndarray, right: _Side, b: np.ndarray, keep: _Keep, threshold: float) -> Pairs:
    """Of these candidates the pairs that reach the threshold.

    Products of two float32 are exact in float64 and are summed in one order, so a pair's cosine is the same wherever
    it is met, and either way round.
    """
    if keep is not None:
        kept = keep(a, b)
        a, b = a[kept], b[kept]
    cosines = np.empty(len(a), np.float32)
    for start in range(0, len(a), _PAIRS):
        part = slice(start, start + _PAIRS)
        cosines[part] = np.einsum("ij,ij->i", left.vectors[a[part]], right.vectors[b[part]], dtype=np.float64)
    hits = cosines >= np.float32(threshold)
    return Pairs(a[hits], b[hits], cosines[hits])


def _rounding(dim: int) -> float:
    """What a float32 sum of `dim` products of unit vectors is off by at most."""
    return dim * float(np.finfo(np.float32).eps)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that stay, for theirs is the memory that they have warmed."""
    return ThreadPoolExecutor(threads, "join")


@cache
def _blas() -> ThreadpoolController:
    """The libraries that NumPy calls: looking for them takes longer than a small product."""
    return ThreadpoolController().select(user_api="blas")


def _one_thread() -> AbstractContextManager[object]:
    return _blas().limit(limits=1)


def _in_order(work: Callable[[Task], Result], tasks: Iterable[Task], threads: int) -> Iterator[Result]:
    """The result of each task in the order of the tasks, a few tasks ahead of who takes them.

    BLAS gets one thread meanwhile: a core a tile wastes less than many cores on one small product.
    """
    ahead: deque[Future[Result]] = deque()
    pool = _pool(threads)
    with _one_thread():
        for task in tasks:
            ahead.append(pool.submit(work, task))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
