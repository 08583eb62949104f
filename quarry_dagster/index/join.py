"""All pairs of vectors whose cosine reaches a threshold, every pair compared.

The cosine a pair gets depends on the two vectors alone, never on what else is there or in which order, nor on the
kernel that compares. Work goes by tiles, so memory is bounded whatever is found.

Why so: "Cosines come from an exact join" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from quarry_dagster.index.kernels import Float32, MakeKernel, Pairs, Side, Tile


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

    def within(
        self, limit: int | None = None, counts: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> Iterator[Pairs]:
        """Pairs of the vectors with each other, a < b, each once.

        With `limit`, of each b the pairs with at least its first `limit` partners that count: where very many are
        alike, the others are not looked at. `counts` tells by its cosines which pairs do; None: all.
        """
        found = np.zeros(len(self._own.vectors), np.int64)

        def tiles() -> Iterator[Tile]:
            for rows, columns in self._tiles(self._own, triangle=True):
                unfinished = columns if limit is None else columns[found[columns] < limit]
                if len(unfinished):
                    yield rows, unfinished

        for pairs in self._kernel.find(self._own, self._own, tiles(), np.less):
            counted = pairs.b if counts is None else pairs.b[counts(pairs.cosine)]
            found += np.bincount(counted, minlength=len(found))
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
