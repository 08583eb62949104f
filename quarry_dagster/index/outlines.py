"""Outlines of vectors: a sixth of their bytes, that tell of nearly all that they are near no new one.

A corpus grows by little at a time, and to compare what is new with all that is there its vectors would have to be read.
Their outlines are read instead, and then the vectors of the few that the bound leaves.

Why so: "New vectors are compared with outlines of the old ones" in docs/decisions.md.
"""

from __future__ import annotations

import threading

import numpy as np

from quarry_dagster.index.bound import coordinates, one_thread, rounding
from quarry_dagster.index.kernels import for_parts

OUTLINE_WIDTH = 127
"""Directions that vectors are outlined in."""
_FIRST = 64  # coordinates, the norm of the rest among them, that all outlines are compared by
_TILE = (1024, 512)  # outlines, and new vectors, that are compared at once: their sums fit in a core's cache
_ROUNDED = float(np.finfo(np.float16).eps)
"""More than rounding to float16 moves a vector of length one; its least coordinates lose far less than that."""


def outlined(vectors: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """The outlines of unit vectors of shape (n, dim): float16 of shape (n, directions + 1).

    `directions` are orthonormal, float32 of shape (dim, directions); see :func:`quarry_dagster.index.bound.directions`.
    """
    with one_thread():  # others would go on waiting for more, and that is no less work
        return coordinates(vectors, directions).astype(np.float16)


def may_reach(vectors: np.ndarray, outlines: np.ndarray, directions: np.ndarray, threshold: float) -> np.ndarray:
    """Which of n vectors, told by their outlines, may reach the threshold with any of these: bool of shape (n,).

    True for all that do, and for few that do not. `vectors` are unit vectors of shape (m, dim), `outlines` what
    :func:`outlined` made along the same directions.
    """
    with one_thread():
        mine = coordinates(vectors, directions)
    my_first = _first(mine)
    least = np.float32(threshold - rounding(len(directions)) - _ROUNDED)
    found = np.zeros(len(outlines), np.bool_)
    of_thread = threading.local()

    def may(theirs: np.ndarray, mine: np.ndarray) -> np.ndarray:
        """Which of them the bound by these coordinates leaves."""
        if not hasattr(of_thread, "sums"):
            of_thread.sums = np.empty(_TILE[0] * _TILE[1], np.float32)  # new memory costs as much as the sums
        best = np.full(len(theirs), -1, np.float32)
        for start in range(0, len(mine), _TILE[1]):
            some = mine[start : start + _TILE[1]]
            sums = of_thread.sums[: len(theirs) * len(some)].reshape(len(theirs), len(some))
            np.maximum(best, np.matmul(theirs, some.T, out=sums).max(axis=1), out=best)
        return best >= least

    def fill(part: slice) -> None:
        theirs = outlines[part]
        left = np.flatnonzero(may(_first(theirs), my_first))  # half the work dismisses most
        found[part.start + left] = may(theirs[left].astype(np.float32), mine)

    for_parts(fill, len(outlines), _TILE[0])
    return found


def _first(coordinates: np.ndarray) -> np.ndarray:
    """The first of the coordinates of unit vectors, float32, and the most that the norm of all others is.

    It is the most whatever rounding to float16 did to them, and whatever a unit vector lacks of length one.
    """
    if coordinates.shape[1] <= _FIRST:
        return coordinates.astype(np.float32, copy=False)
    out = np.empty((len(coordinates), _FIRST), np.float32)
    some = out[:, :-1]
    some[:] = coordinates[:, : _FIRST - 1]
    inside = np.einsum("ij,ij->i", some, some)
    out[:, -1] = np.sqrt(np.maximum(1 + _ROUNDED - (1 - 2 * _ROUNDED) * inside, 0))
    return out
