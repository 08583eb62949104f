"""A bound of the cosine of two unit vectors by a few coordinates of each: most pairs need no more to be dismissed.

Let x1 be the part of x in a subspace and x2 the rest: by Cauchy-Schwarz ``<a, b> <= <a1, b1> + |a2| |b2|``. That is a
dot product too, of the coordinates in the subspace with the norm of the rest as one more. It holds in any subspace; in
the directions in which the vectors vary most, few pairs are left.

Why so: "The exact join dismisses pairs by a bound, not by a guess" in docs/decisions.md.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

SAMPLE = 20_000
"""Vectors that the directions, and the scale of bytes, are taken from."""


def directions(vectors: np.ndarray, count: int) -> np.ndarray:
    """Orthonormal directions in which a sample of the vectors is largest: float32 of shape (dim, count or fewer)."""
    some = sample(vectors).astype(np.float64)
    with one_thread():  # so small a problem is slower on many threads
        _, axes = np.linalg.eigh(some.T @ some)
    return np.ascontiguousarray(axes[:, ::-1][:, :count], np.float32)


def sample(vectors: np.ndarray) -> np.ndarray:
    """At most SAMPLE of them, spread evenly."""
    return vectors[:: max(1, -(-len(vectors) // SAMPLE))]


def coordinates(vectors: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Coordinates of vectors in these directions, and the norm of the rest last: float32 of shape (n, count + 1).

    The norm is rounded up: it comes from a difference, which for a small rest is mostly rounding.
    """
    vectors = vectors.astype(np.float32, copy=False)
    out = np.empty((len(vectors), directions.shape[1] + 1), np.float32)
    inside = out[:, :-1]
    np.matmul(vectors, directions, out=inside)
    rest = np.einsum("ij,ij->i", vectors, vectors) - np.einsum("ij,ij->i", inside, inside)
    out[:, -1] = np.sqrt(np.maximum(rest, 0) + rounding(vectors.shape[1]))
    return out


def rounding(dim: int) -> float:
    """What a float32 sum of `dim` products of unit vectors is off by at most."""
    return dim * float(np.finfo(np.float32).eps)


@cache
def _blas() -> ThreadpoolController:
    """The libraries that NumPy calls: looking for them takes longer than a small product."""
    return ThreadpoolController().select(user_api="blas")


def one_thread() -> AbstractContextManager[object]:
    """BLAS gets one thread while the block runs."""
    return _blas().limit(limits=1)
