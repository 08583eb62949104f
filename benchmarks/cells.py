"""All pairs of vectors whose cosine reaches a threshold, of those that meet in a cell: a few in a thousand of all.

Which pairs are compared, and the cosine a pair gets, depends on the two vectors and the centroids alone, never on what
else is there or in which order, nor on the kernel that compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quarry_dagster.index.kernels import Float32, MakeKernel, Pairs, Tile, for_parts

_ASSIGNED = 1024  # vectors whose cells are looked for at once


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

    def near(self, vectors: np.ndarray, margin: float = 0.1, most: int = 16) -> np.ndarray:
        """The cells near each of n unit vectors, home first: int32 of shape (n, most or fewer), -1 where there is none.

        Near are those whose centroid's cosine is within `margin` of the nearest one's, at most `most`: a vector in the
        middle of its cell needs no other, one between many needs them all (as in SPANN, Chen et al. 2021). So fewer
        comparisons find as many pairs as with the same number of cells for each vector.

        A function of the vector alone: coordinates are rounded to integers whose sums of products float32 holds, so it
        does not matter in which order they are summed. That moves a cosine by some thousandths at most.
        """
        count, dim = self.centroids.shape
        most = min(most, count)
        levels = int((2**24 / dim) ** 0.5)
        unit = float(np.abs(self.centroids).max()) / levels
        centroids = np.rint(self.centroids / unit).T
        numbers = np.arange(count)
        out = np.full((len(vectors), most), -1, np.int32)

        def fill(part: slice) -> None:
            block = vectors[part].astype(np.float32, copy=False)
            units = np.maximum(np.abs(block).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / levels
            cosines = np.rint(block / units) @ centroids  # of these units
            rows, home = np.arange(len(block)), cosines.argmax(axis=1)
            is_near = cosines >= cosines[rows, home, None] - margin / (units * unit)
            crowded = np.flatnonzero(np.count_nonzero(is_near, axis=1) > most)
            # Of centroids that are equally near the first counts.
            ranks = cosines[crowded].astype(np.int64) * count - numbers
            is_near[crowded] = ranks >= np.partition(ranks, -most, axis=1)[:, -most, None]
            is_near[rows, home] = False
            others, cells = np.nonzero(is_near)
            out[part][:, 0] = home
            out[part][others, 1 + np.arange(len(others)) - np.searchsorted(others, others)] = cells

        for_parts(fill, len(vectors), _ASSIGNED)
        return out


class CellJoin:
    """Pairs of which one's home is among the cells near the other: nearly all hits.

    As :class:`quarry_dagster.index.ThresholdJoin`, with the cells near each vector (:meth:`Cells.near`).
    """

    def __init__(self, vectors: np.ndarray, near: np.ndarray, threshold: float, kernel: MakeKernel = Float32) -> None:
        """
        Args:
            vectors: unit vectors, float32 or float16 of shape (n, dim).
            near: the cells near them, int32 of shape (n, most).
            threshold: the least cosine of a pair, as float32.
            kernel: what compares; the pairs are the same.
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
    rows, columns = np.nonzero(near >= 0)
    cells = near[rows, columns]
    order = np.argsort(cells, kind="stable")
    numbers, starts = np.unique(cells[order], return_index=True)
    yield from zip(numbers.tolist(), np.split(rows[order], starts[1:]), strict=True)
