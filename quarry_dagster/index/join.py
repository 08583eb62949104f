"""All pairs of vectors whose cosine reaches a threshold: compared all, or those that meet in a cell.

Which pairs are compared, and the cosine a pair gets, depends on the two vectors (and the centroids) alone, never on
what else is there or in which order, nor on the kernel that compares. Work goes by tiles, so memory is bounded
whatever is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quarry_dagster.index.kernels import Float32, MakeKernel, Pairs, Side, Tile, rounding

_ASSIGNED = 20_000  # vectors whose cells are looked for at once


class ThresholdJoin:
    """All pairs of some vectors with each other, and with others. Exact.

    What is new is joined with itself and with what was there: m against N cost m * N comparisons.

        join = ThresholdJoin(new, 0.85)
        for pairs in join.within(): ...            # rows of new
        for block in old:
            for pairs in join.against(block): ...  # rows of new, rows of block
    """

    def __init__(self, vectors: np.ndarray, threshold: float, kernel: MakeKernel = Float32) -> None:
        """
        Args:
            vectors: unit vectors, float32 or float16 of shape (n, dim).
            threshold: the least cosine of a pair, as float32.
            kernel: what compares; the pairs are the same. :func:`quarry_dagster.index.fastest` chooses.
        """
        self._kernel = kernel(vectors, threshold)
        self._own = self._kernel.side(vectors)

    def within(self, limit: int | None = None) -> Iterator[Pairs]:
        """Pairs of the vectors with each other, a < b, each once.

        With `limit`, of each b the pairs with at least its first `limit` partners: where very many are alike, the
        others are not looked at.
        """
        found = np.zeros(len(self._own.vectors), np.int64)

        def tiles() -> Iterator[Tile]:
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

    def _tiles(self, other: Side, triangle: bool) -> Iterator[Tile]:
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

        kmeans = faiss.Kmeans(sample.shape[1], cells, niter=6, seed=1, spherical=True)
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
        for start in range(0, len(vectors), _ASSIGNED):
            block = np.ascontiguousarray(vectors[start : start + _ASSIGNED], np.float32)
            cosines, found = index.search(block, min(probes + 1, cells))  # pyright: ignore[reportCallIssue]
            close = np.flatnonzero((-np.diff(cosines, axis=1) < rounding(block.shape[1])).any(axis=1))
            again = -np.einsum("ij,kj->ik", block[close].astype(np.float64), exact)
            found[close] = np.argsort(again, axis=1, kind="stable")[:, : found.shape[1]]
            out[start : start + _ASSIGNED] = found[:, :probes]
        return out


class CellJoin:
    """Pairs of which one's home is among the other's nearest cells: a few in a thousand of all, and nearly all hits.

    As :class:`ThresholdJoin`, with the nearest cells of each vector (:meth:`Cells.near`, the same number for all).
    """

    def __init__(self, vectors: np.ndarray, near: np.ndarray, threshold: float, kernel: MakeKernel = Float32) -> None:
        """
        Args:
            vectors: unit vectors, float32 or float16 of shape (n, dim).
            near: their nearest cells, int32 of shape (n, probes).
            threshold: the least cosine of a pair, as float32.
            kernel: as for :class:`ThresholdJoin`.
        """
        self._kernel = kernel(vectors, threshold)
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

    def _tiles(self, near: np.ndarray, guests_near: np.ndarray) -> Iterator[Tile]:
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
